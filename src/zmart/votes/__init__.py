"""Votes: accept them, judge who may vote, keep the log, count, and gate decisions on a complete index."""
