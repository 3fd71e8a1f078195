"""Relay committed changes from PostgreSQL's change feed to Redis, and encode them as messages for clients."""
