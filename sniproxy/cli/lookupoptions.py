"""The command-line options of ``sniproxyctl lookup``. Imports neither Twisted nor TLS. Pure."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.secondstype import seconds_type
from sniproxy.cli.subcommand import add_command
from sniproxy.client.failures import FailureKind

ENVIRONMENT = "env:"
"""Prefix of ``--token`` before the name of an environment variable."""

MIN_TIMEOUT_S, MAX_TIMEOUT_S = 0.001, 86_400.0
"""Bounds of the timeout."""


def add_lookup(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    kinds = "\n".join(f"  {int(kind)}  {kind.name.lower()}" for kind in FailureKind)
    lookup = add_command(
        commands,
        "lookup",
        "find the broker of a topic, directly or through an SNI proxy, and show each hop",
        "Looks up a topic and connects to its owners, as a client with the PIP-60 settings does.\n"
        "Shows each hop: server name, address, certificate, answer and time.",
        epilog=f"exit status: 0: success; 2: wrong usage; 130: Ctrl-C; else that of the first failure:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lookup.add_argument(
        "topic", metavar="TOPIC", help="persistent://, topic:// or segment://TENANT/NAMESPACE/TOPIC, or short"
    )
    lookup.add_argument("--service-url", required=True, metavar="URL", help="pulsar+ssl://HOST[:PORT], or pulsar://")
    lookup.add_argument("--proxy-service-url", metavar="URL", help="the proxy of PIP-60: pulsar+ssl://HOST:PORT")
    lookup.add_argument("--proxy-protocol", metavar="SNI", help="required with --proxy-service-url; in any case")
    lookup.add_argument("--trust", metavar="FILE", help="PEM file or folder of trusted CA certificates")
    lookup.add_argument(
        "--certificate", metavar="FILE", help="PEM file of the client certificate, with or without its key"
    )
    lookup.add_argument(
        "--key", metavar="FILE", help="PEM file of the key, if it is not in the file of the certificate"
    )
    lookup.add_argument(
        "--token", metavar="FILE", help=f"a file with the token, or {ENVIRONMENT}NAME for an environment variable"
    )
    lookup.add_argument("--listener", default="", metavar="NAME", help="the advertised listener of the brokers")
    lookup.add_argument(
        "--timeout",
        type=seconds_type("timeout", MIN_TIMEOUT_S, MAX_TIMEOUT_S),
        default=10.0,
        metavar="S",
        help="timeout in seconds for each connection, handshake and answer; default: 10",
    )
    lookup.add_argument(
        "--config", metavar="FILE", help="a proxy's configuration, whose routes must have all brokers of the answers"
    )
    lookup.add_argument("--json", action="store_true", help="print one JSON object")
    return lookup
