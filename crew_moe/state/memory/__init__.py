"""The stores of one process: plain values under locks."""
