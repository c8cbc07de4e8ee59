"""The options of ``sniproxyctl explain``."""

from __future__ import annotations

import argparse
from typing import Any


def add_explain(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    explain: argparse.ArgumentParser = commands.add_parser(
        "explain",
        allow_abbrev=False,
        help="what a configuration does with a server name, and why",
        description="Says which route a server name takes and why not another one, what the resolver answers, and what "
        "the policy says of each address; with --connect, how each target answers and what its certificate covers. "
        "Exit status: 0: it would be routed; 1: it would be refused, or something else is wrong; 2: wrong usage, or a "
        "configuration that cannot be used.",
    )
    explain.add_argument("name", metavar="NAME", nargs="?", help="the server name; '': a hello without one")
    explain.add_argument("--all", action="store_true", help="all routes instead of one name")
    explain.add_argument("--config", metavar="FILE", required=True, help="the configuration file (TOML)")
    explain.add_argument("--listener", metavar="L", help="only this listener; without it, all")
    explain.add_argument("--connect", action="store_true", help="dial the targets, and look at their certificates")
    explain.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="HOST",
        help="a name that certificates must cover, too, as that of the service URL or the proxy's URL. Repeats",
    )
    explain.add_argument("--json", action="store_true", help="a JSON array with an object for each listener or route")
    return explain
