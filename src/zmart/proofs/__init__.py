"""Hash, sign and verify Merkle logs, canonical documents, receipts, tallies and snapshots; nothing here stores data."""
