"""What operators are shown: numbers for Prometheus, and spans for OpenTelemetry."""
