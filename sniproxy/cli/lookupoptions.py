"""The options of ``sniproxyctl lookup``. Without Twisted and TLS, which the other commands do not need. Pure."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.client.failures import FailureKind

ENVIRONMENT = "env:"
"""In place of a token's file: the name of an environment variable follows."""


def add_lookup(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of argparse; return its parser."""
    kinds = "\n".join(f"  {int(kind)}  {kind.name.lower()}" for kind in FailureKind)
    lookup: argparse.ArgumentParser = commands.add_parser(
        "lookup",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="who owns a topic, hop by hop, directly or through an SNI proxy; and if not, why not",
        description="Looks a topic up and connects to its owners, as a client with PIP-60's settings does, and\n"
        "shows each hop: server name, address, certificate, answer and time.",
        epilog=f"exit status: 0, all was found; 2, wrong usage; 130, Ctrl-C; or that of the first failure:\n{kinds}",
    )
    lookup.add_argument("topic", metavar="TOPIC", help="persistent://TENANT/NAMESPACE/TOPIC, or a short form of it")
    lookup.add_argument("--service-url", required=True, metavar="URL", help="pulsar+ssl://HOST[:PORT], or pulsar://")
    lookup.add_argument("--proxy-service-url", metavar="URL", help="PIP-60's proxy, pulsar+ssl://HOST:PORT")
    lookup.add_argument("--proxy-protocol", metavar="SNI", help="how the proxy is told the broker; goes with the URL")
    lookup.add_argument("--trust", metavar="FILE", help="PEM of the trusted authorities, or a folder of them")
    lookup.add_argument("--certificate", metavar="FILE", help="PEM of the client's certificate, and of its key")
    lookup.add_argument("--key", metavar="FILE", help="PEM of the key, where it is not in the certificate's file")
    lookup.add_argument("--token", metavar="FILE", help=f"the file of a token, or {ENVIRONMENT}NAME for a variable's")
    lookup.add_argument("--listener", default="", metavar="NAME", help="which of the brokers' advertised listeners")
    lookup.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="seconds for each connection, handshake and answer; default: 10",
    )
    lookup.add_argument("--json", action="store_true", help="one JSON object")
    return lookup


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, over 0 and at most a day")
    return seconds
