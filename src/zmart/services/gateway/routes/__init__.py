"""The table of routes: one module for each part of the API."""
