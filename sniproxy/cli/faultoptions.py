"""The options of ``fault``."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.adminclient import as_url
from sniproxy.cli.subcommand import add_command

LIST, ADD, REMOVE = "list", "add", "remove"


def add_fault_command(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "fault",
        "make faults on purpose, for tests of clients",
        "Lists, adds or removes faults on purpose of a running proxy. The keys of a fault are those of [[fault]] in "
        "the configuration, as in action=delay seconds=2 on=LOOKUP_RESPONSE nth=3. An added fault applies to "
        "connections that are opened afterwards, and to those that another fault concerns already. It survives a "
        "reload and an upgrade, but not a restart. Changes need the unix socket or the token of the admin endpoint.",
    )
    parser.add_argument("what", choices=(LIST, ADD, REMOVE), help="what to do")
    parser.add_argument(
        "values", nargs="*", metavar="KEY=VALUE|NAME", help="for add: keys and values; for remove: the names of faults"
    )
    parser.add_argument(
        "--admin",
        type=as_url,
        metavar="URL",
        required=True,
        help="the admin endpoint, such as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of [admin] token_file; required for http://, not for unix:",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser
