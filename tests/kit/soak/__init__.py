"""The soak: a day of schedules on the local stack within an hour, with traffic, probes, verdicts and a page."""
