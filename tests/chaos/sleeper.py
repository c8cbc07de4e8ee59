"""A run that does not end, for a test."""

import signal

signal.pause()
