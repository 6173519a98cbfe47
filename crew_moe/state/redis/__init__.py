"""The stores that hosts share: one Redis database."""
