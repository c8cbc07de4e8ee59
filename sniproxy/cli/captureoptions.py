"""The options of ``sniproxyctl inspect`` and ``sniproxyctl topics``."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.adminclient import as_url
from sniproxy.pulsar.filter import NAMES

INCOMPLETE = 3
"""Exit status: the capture was read, but for packets that the summary names with the cure."""

_STATUS = (
    "Exit status: 0: all of the capture was read; 1: it is no capture, or broken; 2: wrong usage; 3: some packets were "
    "left out (encapsulated, cut, in fragments) or are in the wrong order, and standard error says which and the cure; "
    "130: interrupted."
)


def add_inspect(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    inspect: argparse.ArgumentParser = commands.add_parser(
        "inspect",
        parents=[_capture()],
        allow_abbrev=False,
        help="what Pulsar's clients and brokers say in a capture",
        description="Shows what Pulsar's clients and brokers say in a capture, one line an event. Live: "
        "tcpdump -i any -U -w - tcp port 6650 | sniproxyctl inspect -",
        epilog=f"Commands: {', '.join(NAMES)}. {_STATUS}",
    )
    inspect.add_argument(
        "--follow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only topics that match, as in a shell: 'persistent://a/b/*', 'orders*'. Repeats",
    )
    inspect.add_argument(
        "--commands",
        type=_names,
        action="extend",
        default=[],
        metavar="NAME[,NAME...]",
        help="only these commands, such as LOOKUP,PRODUCER; some, as SEND, are shown only when named. Repeats",
    )
    inspect.add_argument("--json", action="store_true", help="one JSON object a line")
    inspect.add_argument("--reveal", action="store_true", help="show principals and properties, too; never credentials")
    return inspect


def add_topics(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    ledger: argparse.ArgumentParser = commands.add_parser(
        "topics",
        parents=[_capture()],
        allow_abbrev=False,
        help="which broker owns which topic, by the lookups in a capture or of a running proxy",
        description="Shows which broker owns which topic, by all that a capture's brokers said, or, with the URL of a "
        "running proxy's admin endpoint (http://127.0.0.1:9090) in place of FILE, those that it inspects.",
        epilog=_STATUS,
    )
    form = ledger.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON array")
    form.add_argument("--csv", action="store_true", help="CSV with a header")
    ledger.add_argument(
        "others", type=as_url, metavar="URL", nargs="*", help="the admin endpoints of other instances, added to it"
    )
    what = ledger.add_mutually_exclusive_group()
    what.add_argument("--namespaces", action="store_true", help="namespaces, not topics: lookups, failures, moves")
    what.add_argument("--failures", action="store_true", help="not topics, but the last lookups that failed")
    what.add_argument("--fold", action="store_true", help="one line for all partitions of a topic")
    return ledger


def _capture() -> argparse.ArgumentParser:
    capture = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    capture.add_argument("file", metavar="FILE", help="a capture, pcap or pcapng; '-': standard input")
    capture.add_argument(
        "--port",
        type=_ports,
        action="extend",
        default=[],
        metavar="N[,N...]",
        help="the plaintext ports of brokers; without it, connections are known by their first bytes. Repeats",
    )
    return capture


def _ports(text: str) -> list[int]:
    try:
        ports = [int(port) for port in text.split(",")]
    except ValueError:
        ports = [0]
    if not all(0 < port < 65_536 for port in ports):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of ports, from 1 to 65535")
    return ports


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
