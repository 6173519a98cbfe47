"""The stores that processes of one machine share: one SQLite file."""
