"""The engine on Redis: the session cache."""
