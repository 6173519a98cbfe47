"""Tiny models that a machine without a hub trains for itself: demonstrations of hosted experts, in the real format."""
