"""Exit statuses of ``sniproxyctl`` besides 0, 1 and 2. Pure."""

INCOMPLETE = 3
"""Some packets of a capture could not be read; the summary names them and the cure."""

INTERRUPTED = 130
"""Ctrl-C, as shells report it."""
