"""Options and output of ``sniproxyctl who``."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TextIO

from sniproxy.cli.adminclient import AdminError, as_url, fetch_who
from sniproxy.cli.admincommands import query_all, read_token
from sniproxy.cli.progress import ProgressBar
from sniproxy.cli.subcommand import add_command
from sniproxy.cli.who.brokerstats import BrokerClient, BrokerError, clients_of
from sniproxy.cli.who.logs import LogError, find
from sniproxy.util.names import HOST_PORT_SYNTAX, plain_host_port
from sniproxy.util.text import amount, bounded, duration, printable

Found = Mapping[str, Sequence[dict[str, Any]]]
"""By address: open connections, then records of the access log, the oldest first."""


class Connections:
    """Connections that were found, by the addresses that their targets show.

    A target shows C{upstream_local}, or C{client} if it got a PROXY protocol header.
    """

    def __init__(self) -> None:
        self._by_local: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._by_client: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, one: dict[str, Any]) -> None:
        """Add an open connection, or a record of the access log."""
        self._by_local[str(one.get("upstream_local"))].append(one)
        if one.get("header_sent") is True:
            self._by_client[str(one.get("client"))].append(one)

    def at(self, address: str) -> Sequence[dict[str, Any]]:
        """Those with this address towards the target; if there are none, those with this client."""
        return self._by_local.get(address) or self._by_client.get(address) or ()


def add_who(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "who",
        "show the clients behind addresses that a broker shows",
        "A broker shows the proxy's address for each client. This command finds the client itself: among the open "
        "connections of running proxies (--admin), and in their access logs (--log). With --topic it asks the broker "
        "for the addresses of a topic's producers and consumers.",
    )
    parser.add_argument("addresses", nargs="*", type=_address, metavar="HOST:PORT", help="as the broker shows it")
    parser.add_argument(
        "--admin",
        type=as_url,
        action="append",
        default=[],
        metavar="URL",
        help="the admin endpoint of a proxy, such as http://127.0.0.1:9090; repeat it for each instance",
    )
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="FILE",
        help="an access log, also compressed by gzip; repeat it for each file, the oldest first",
    )
    parser.add_argument(
        "--topic",
        help="find the producers and consumers of this topic, also topic://... or segment://...; needs --broker-admin",
    )
    parser.add_argument("--broker-admin", metavar="URL", help="the admin API of any broker, such as http://broker:8080")
    parser.add_argument("--broker-token-file", metavar="FILE", help="a file with a token for the admin API")
    parser.add_argument("--broker-trust", metavar="FILE", help="PEM of the authorities for an https:// admin API")
    parser.add_argument("--json", action="store_true", help="print JSON, an object for each address")
    return parser


def run_who(options: argparse.Namespace, out: TextIO, error: TextIO) -> int:
    """Find the clients and print them. @return: 0: all were found; 1: some were not.

    @raise AdminError: an endpoint, a log or the broker could not be read; what the others know has been printed.
    """
    if (options.topic is None) != (options.broker_admin is None):
        options.usage("--topic and --broker-admin belong together")
    if not options.admin and not options.log:
        options.usage("name proxies by --admin URL, or access logs by --log FILE")
    if not options.addresses and options.topic is None:
        options.usage("name addresses as the broker shows them, HOST:PORT, or a --topic")
    asked = [BrokerClient("", one) for one in options.addresses] + _of_topic(options)
    addresses = list(dict.fromkeys(one.address for one in asked if plain_host_port(one.address)))
    found, errors = _search(options, addresses, error)
    for one in asked:
        connections = found.get(one.address, ())
        if options.json:
            print(json.dumps({"what": one.what, "address": one.address, "connections": connections}), file=out)
        else:
            print("\n".join(_lines(one, connections)), file=out)
    if errors:
        raise AdminError("; ".join(errors))
    return 0 if all(found.get(one.address) for one in asked) else 1


def _address(text: str) -> str:
    address = plain_host_port(text)
    if address is None:
        raise argparse.ArgumentTypeError(f"{bounded(text)!r}: {HOST_PORT_SYNTAX}")
    return address


def _of_topic(options: argparse.Namespace) -> list[BrokerClient]:
    if options.topic is None:
        return []
    try:
        token = read_token(options.broker_token_file, "--broker-token-file")
        found = clients_of(options.broker_admin, options.topic, token, options.broker_trust)
    except (BrokerError, ValueError) as problem:
        raise AdminError(f"{printable(options.broker_admin)}: {problem}") from problem
    if not found:
        raise AdminError(f"topic {printable(options.topic)} has no producer and no consumer now")
    return found


def _search(options: argparse.Namespace, addresses: Sequence[str], error: TextIO) -> tuple[Found, list[str]]:
    found = Connections()
    errors: list[str] = []
    seen: set[str] = set()
    past: dict[tuple[str, str], dict[str, Any]] = {}  # the last line of a connection counts
    if options.admin and addresses:
        try:
            answers, failed = query_all(options.admin, partial(fetch_who, addresses=addresses))
            errors += map(str, failed)
        except AdminError as problem:
            answers, errors = {}, [str(problem)]
        for url, tunnels in answers.items():
            for one in tunnels:
                seen.add(str(one.get("id")))
                found.add({"proxy": url, **one})
    for path in options.log:
        bar: ProgressBar | None = None

        def progress(done: int, size: int) -> None:
            nonlocal bar
            bar = bar or ProgressBar(size, error)
            bar.draw(done)

        try:
            for record in find(path, addresses, progress):
                if str(record.get("id")) not in seen:
                    past[str(record.get("upstream_local")), str(record.get("id"))] = {"log": path, **record}
        except LogError as problem:
            errors.append(f"{printable(path)}: {problem}")
        if bar is not None:
            bar.hide()
    for record in past.values():
        found.add(record)
    return {address: found.at(address) for address in addresses}, errors


def _lines(asked: BrokerClient, connections: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield " ".join(filter(None, (bounded(asked.what), printable(asked.address) or "(no address)")))
    if not connections:
        yield "  not found: it came by another way, or ended; name the access logs by --log"
    for one in connections:
        yield f"  {_connection(one)}"


def _connection(one: Mapping[str, Any]) -> str:
    """One line for a connection, of ``/who`` or of an access log."""
    is_open = "proxy" in one
    name, peer = one.get("name" if is_open else "server_name"), one.get("peer")
    through = f" through {printable(str(peer))}" if peer else ""
    moved = f"up {amount(int(one.get('bytes_up') or 0))}, down {amount(int(one.get('bytes_down') or 0))}"
    if is_open:
        when = f"open for {duration(float(one.get('age_s') or 0))}"
        where = f"proxy {printable(str(one['proxy']))}"
    else:
        when = f"{printable(str(one.get('result')))} at {printable(str(one.get('time')))}"
        where = printable(str(one["log"]))
    return (
        f"client {printable(str(one.get('client')))}{through}  {printable(str(name or '-'))} -> "
        f"{printable(str(one.get('target')))}  {when}, {moved}  ({where}, {printable(str(one.get('id')))})"
    )
