"""Hash, sign and verify: Merkle logs, canonical documents, receipts, tallies, snapshots. Nothing here is stored."""
