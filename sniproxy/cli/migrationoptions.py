"""The options of ``import`` and ``export``. Pure."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.subcommand import add_command
from sniproxy.migrate.formats import WRITERS, Format
from sniproxy.util.names import BadName, ip_literal, server_name


def add_import(commands: Any) -> argparse.ArgumentParser:
    """Add the command ``import``."""
    parser = add_command(
        commands,
        "import",
        "turn the configuration of another proxy into ours",
        "Read the configuration of another proxy and print ours on standard output. The report on standard error says "
        "for each setting whether it was taken, is different here, or was left out. Exit status 3: something that "
        "decides where names go was left out.",
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="the configuration and the files it names (maps, included files), or '-' for standard input",
    )
    parser.add_argument(
        "--from", dest="format", choices=[str(one) for one in Format], help="the format (default: by name and content)"
    )
    _add_common(parser)
    return parser


def add_export(commands: Any) -> argparse.ArgumentParser:
    """Add the command ``export``."""
    parser = add_command(
        commands,
        "export",
        "turn our configuration into that of another proxy",
        "Read a configuration of twistd sniproxy and print that of another proxy on standard output, with a report on "
        "standard error. Exit status 3: something that decides where names go was left out.",
    )
    parser.add_argument("file", metavar="CONFIG", help="our configuration file")
    parser.add_argument("--to", dest="format", choices=WRITERS, required=True, help="the format")
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster-domain",
        metavar="DOMAIN",
        type=_domain,
        help="for tlsroute: the end of the names of Services in the cluster's DNS (default: cluster.local)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _domain(text: str) -> str:
    try:
        name = server_name(text)
        if ip_literal(name) is None:
            return name
        why = "it is an IP address"
    except BadName as error:
        why = str(error)
    raise argparse.ArgumentTypeError(f"invalid domain {text!r}: {why}; write it as in cluster.local")
