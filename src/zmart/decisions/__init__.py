"""Plan and execute effects on chain."""
