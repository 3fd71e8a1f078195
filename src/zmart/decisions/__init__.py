"""Plan the backend's effects on chain, execute them, and schedule the work that decides about them."""
