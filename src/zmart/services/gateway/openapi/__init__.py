"""The published description of the API: OpenAPI, and the pages made from it."""
