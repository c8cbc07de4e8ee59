"""The command ``run``: the service of ``twistd sniproxy`` in the foreground, with its log on standard error."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sniproxy.cli.subcommand import add_command

TWISTD = ("twistd", "-n", "--pidfile=", "--logger=sniproxy.logs.twistd.standard_error", "sniproxy")
"""The command line that it stands for, without the options of the proxy."""


def add_run(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser."""
    parser = add_command(
        commands,
        "run",
        "run the proxy in the foreground",
        "Run the proxy in the foreground, as twistd -n sniproxy does, but with its log on standard error: standard "
        'output has nothing but the access log, if the configuration says "-". It writes no pid file. Signals: TERM '
        "and INT drain and stop, HUP reloads, USR1 reopens the logs.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="the configuration file (TOML)")
    parser.add_argument("-l", "--listen", metavar="ENDPOINT", action="append", default=[],
                        help="without a file: accept connections here, as in tcp:4443; repeats")  # fmt: skip
    parser.add_argument("-r", "--route", metavar="NAME=HOST:PORT", action="append", default=[],
                        help="without a file: send a server name to these targets; repeats")  # fmt: skip
    parser.add_argument("-a", "--access-log", metavar="FILE", help="the access log; '-': standard output")
    parser.add_argument("--check", action="store_true", help="check the configuration, print a summary, and exit")
    return parser


def twistd_arguments(options: argparse.Namespace) -> list[str]:
    """The command line of twistd, its name first."""
    words = list(TWISTD)
    for name in ("config", "access_log"):
        value = getattr(options, name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    words += [f"--listen={one}" for one in options.listen]
    words += [f"--route={one}" for one in options.route]
    return [*words, "--check"] if options.check else words


def run_proxy(options: argparse.Namespace) -> int:
    """Run the proxy until it is stopped. @return: 0; a signal ends the process as it ends twistd."""
    from twisted.scripts.twistd import run

    sys.argv = twistd_arguments(options)
    run()
    return 0
