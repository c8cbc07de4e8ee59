"""Logs: access log, twistd's own log, refused connections."""
