"""What every surface shares: the operations that callers have, whose data they see, and how they are told of faults."""
