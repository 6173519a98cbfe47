"""What the router tells the outside about itself."""
