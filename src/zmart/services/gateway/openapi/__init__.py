"""Publish the description of the API: the OpenAPI document, and the pages made from it."""
