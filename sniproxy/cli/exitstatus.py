"""Exit statuses of ``sniproxyctl`` besides 0 and 1. Pure."""

USAGE = 2
"""Wrong usage, as argparse reports it."""

INCOMPLETE = 3
"""Some packets of a capture could not be read; the summary names them and the cure."""

INTERRUPTED = 130
"""Ctrl-C, as shells report it."""
