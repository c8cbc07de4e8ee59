"""Access log, twistd's log, and the log of refused connections."""
