"""Hash, sign and verify: Merkle log, canonical documents, receipts, tallies, snapshots. Nothing here writes."""
