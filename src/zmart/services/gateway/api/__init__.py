"""Handle the resources of the API: one module for each with its routes, and what they share."""
