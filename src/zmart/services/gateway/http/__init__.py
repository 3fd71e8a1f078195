"""Handle requests around their handlers: edge, limits, response cache, errors, authentication."""
