"""Telemetry for operators: metrics for Prometheus, spans for OpenTelemetry, logs."""
