"""Export spans by OpenTelemetry: the only package that imports what the extra `zmart[otel]` brings."""
