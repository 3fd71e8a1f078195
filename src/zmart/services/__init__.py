"""Contain the six services, one package each, and the modules that several of them share."""
