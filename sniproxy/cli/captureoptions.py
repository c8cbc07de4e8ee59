"""The command-line options of ``sniproxyctl inspect`` and ``sniproxyctl topics``."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.adminclient import as_url
from sniproxy.cli.subcommand import add_command
from sniproxy.pulsar.filter import NAMES

_STATUS = (
    "Exit status: 0: the whole capture was read; 1: the file is not a capture, or is damaged; 2: wrong usage; 3: some "
    "packets were skipped (encapsulated, truncated, fragmented) or are out of order: standard error has the cure; "
    "130: interrupted."
)


def add_inspect(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    inspect = add_command(
        commands,
        "inspect",
        "show the Pulsar commands in a capture",
        "Shows the commands between Pulsar clients and brokers in a capture, one line per event. Live: "
        "tcpdump -i any -U -w - tcp port 6650 | sniproxyctl inspect -",
        parents=[_capture()],
        epilog=f"Commands: {', '.join(NAMES)}. {_STATUS}",
    )
    inspect.add_argument(
        "--follow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only topics that match this shell pattern, with their partitions and segments: 'persistent://a/b/*', "
        "'orders*'; repeatable",
    )
    inspect.add_argument(
        "--commands",
        type=_names,
        action="extend",
        default=[],
        metavar="NAME[,NAME...]",
        help="only these commands, such as LOOKUP,PRODUCER; some, such as SEND, are hidden by default; repeatable",
    )
    inspect.add_argument("--json", action="store_true", help="print one JSON object per line")
    inspect.add_argument("--reveal", action="store_true", help="also show principals and properties; never credentials")
    return inspect


def add_topics(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    ledger = add_command(
        commands,
        "topics",
        "show which broker owns which topic, from a capture or a running proxy",
        "Shows which broker owns which topic, from the lookups in a capture. With the URL of an admin endpoint "
        "(http://127.0.0.1:9090) instead of FILE, shows the topics that a running proxy has inspected.",
        parents=[_capture()],
        epilog=_STATUS,
    )
    form = ledger.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON array")
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    ledger.add_argument(
        "others",
        type=as_url,
        metavar="URL",
        nargs="*",
        help="admin endpoints of other instances; their topics are merged",
    )
    what = ledger.add_mutually_exclusive_group()
    what.add_argument(
        "--namespaces", action="store_true", help="show lookups, failures and moves by namespace instead of topics"
    )
    what.add_argument("--failures", action="store_true", help="show the last failed lookups instead of topics")
    what.add_argument("--fold", action="store_true", help="show all partitions or segments of a topic in one line")
    return ledger


def _capture() -> argparse.ArgumentParser:
    capture = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    capture.add_argument("file", metavar="FILE", help="a pcap or pcapng file; '-' for standard input")
    capture.add_argument(
        "--port",
        type=_ports,
        action="extend",
        default=[],
        metavar="N[,N...]",
        help="plaintext ports of brokers; default: detect Pulsar by the first bytes of a connection; repeatable",
    )
    return capture


def _ports(text: str) -> list[int]:
    try:
        ports = [int(port) for port in text.split(",")]
    except ValueError:
        ports = [0]
    if not all(0 < port < 65_536 for port in ports):
        raise argparse.ArgumentTypeError(f"invalid ports {text!r}; write numbers from 1 to 65535, separated by commas")
    return ports


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
