"""The published description of the API: OpenAPI 3.1 made from handlers and shapes, and pages made from that."""
