"""HTTP/1.1 as every API needs it: the server, its limits, bodies and problem details."""
