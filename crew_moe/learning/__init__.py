"""What the log teaches: quality models, bandits, off-policy estimates, experiments, and the report of how it went."""
