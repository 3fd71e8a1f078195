"""A day of schedules on the local stack within an hour: clock, traffic, probes, figures, verdicts, a page of them."""
