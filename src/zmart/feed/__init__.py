"""Carry committed changes from PostgreSQL's change feed to Redis and to clients."""
