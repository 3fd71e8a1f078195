"""Handle the API's resources: one module for each resource with its routes, and modules that several resources
share."""
