"""Compute CIDs of files, pin them at a provider, and read them from a gateway."""
