"""Implement `zmart demo`: play markets from proposal to payout as users do, over HTTP, WebSocket and own wallets."""
