"""How requests come in and answers go out: edge, limits, response cache, problems, authentication."""
