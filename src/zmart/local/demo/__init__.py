"""Implement `zmart demo`: a market's whole life as users live it, over HTTP, WebSocket and their own wallets."""
