"""Accept votes, judge who may vote, keep and count the vote log, and check that the index is complete for decisions."""
