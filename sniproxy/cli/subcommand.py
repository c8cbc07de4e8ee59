"""Adds the parser of one command to that of ``sniproxyctl``. Pure."""

from __future__ import annotations

import argparse
from typing import Any


def add_command(commands: Any, name: str, summary: str, description: str, **settings: Any) -> argparse.ArgumentParser:
    """Add a command whose options cannot be abbreviated. @return: the parser of the command.

    Sets C{usage} of the parsed options, which reports wrong usage: it takes the error, and exits with 2.

    @param commands: what C{add_subparsers} returned.
    @param summary: one line for the list of commands. @param description: the first paragraph of the command's help.
    @param settings: further arguments for L{argparse.ArgumentParser}.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name, allow_abbrev=False, help=summary, description=description, **settings
    )
    parser.set_defaults(usage=parser.error)
    return parser
