"""The options of ``upgrade``. Pure."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.secondstype import seconds_type
from sniproxy.cli.subcommand import add_command

DEFAULT_TIMEOUT_S = 120.0
"""Seconds to wait for the result, for each worker that the file names."""

MIN_TIMEOUT_S, MAX_TIMEOUT_S = 90.0, 3600.0
"""Bounds of that: the command waits longer than the proxy, which gives up a new process that does not start in 60 s, or
does not answer for 10 s."""


def add_upgrade(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser."""
    parser = add_command(
        commands,
        "upgrade",
        "replace the program of a running proxy, and keep its tunnels",
        "Lets a running proxy start its program anew, with the code and the configuration that are now on disk. The "
        "new process takes over listeners, admin endpoint and tunnels; no client is cut. Tunnels that cannot move stay "
        "with the old process until they end. If anything fails, the old process continues, and the exit status is 1.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "-c", "--config", metavar="FILE", help="the proxy's configuration file: use its [admin] endpoint and token_file"
    )
    where.add_argument("--admin", metavar="URL", help="the admin endpoint, such as unix:/run/sniproxy/admin.sock")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of [admin] token_file; required for http://, not for unix:",
    )
    parser.add_argument(
        "--timeout",
        type=seconds_type("timeout", MIN_TIMEOUT_S, MAX_TIMEOUT_S),
        metavar="SECONDS",
        help=f"how long to wait for the result, at least {MIN_TIMEOUT_S:g}; default: {DEFAULT_TIMEOUT_S:g} "
        "for each worker of the FILE",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser
