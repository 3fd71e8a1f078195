"""`zmart demo`: a market's whole life as its users would live it, over HTTP, WebSocket and their own wallets."""
