"""Experts that run in this process."""
