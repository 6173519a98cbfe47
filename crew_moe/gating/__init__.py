"""What stands between a decision and its call: who may use which experts, and the gate before the dear ones."""
