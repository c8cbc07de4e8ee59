"""The options of ``reload``. Pure."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.subcommand import add_command


def add_reload(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser."""
    parser = add_command(
        commands,
        "reload",
        "check the configuration file, reload it, and wait for the result",
        "Checks the file first: if it is invalid, nothing is sent. Then sends HUP to the proxy, and waits for the "
        "result at the file's [admin] endpoint, with workers at those of all. Without [admin], the log has the result.",
    )
    parser.add_argument(
        "-c", "--config", metavar="FILE", required=True, help="the file that the proxy was started with"
    )
    parser.add_argument("--pid", metavar="PID", type=_pid, required=True, help="the proxy's main process")
    return parser


def _pid(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError("write the id of a process")
    return int(text)
