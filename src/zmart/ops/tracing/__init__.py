"""Export spans by OpenTelemetry. Only this package imports the dependencies of the extra `zmart[otel]`."""
