"""The resources of the API: one module each with its routes, and what they share."""
