"""The gating network: which hosted expert serves a text, by its features, and how sure that is."""
