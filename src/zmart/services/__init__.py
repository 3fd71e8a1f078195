"""Contain the six services, one package each, and the contract that they share."""
