"""Let several worker processes serve one port: each reports its state, and any of them answers for all."""
