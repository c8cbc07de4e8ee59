"""The commands ``sniproxyctl status`` and ``sniproxyctl drain``, which query running proxies."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from sniproxy.cli.adminclient import AdminError, as_url, drain, fetch_ledger, fetch_status, undrain
from sniproxy.cli.aggregation import merged_drains, merged_ledgers, merged_status
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.subcommand import add_command
from sniproxy.inspector.entries import LedgerSnapshot
from sniproxy.util.text import amount, bounded, counted, printable

T = TypeVar("T")

POLL_INTERVAL_S = 1.0
"""Seconds between two polls of a drain."""

MAX_TOKEN_BYTES = 4096
"""Maximum size of a token."""

MAX_ROUTES = 10
"""Maximum of routes in the text of C{status}."""

_ENDPOINT = "the admin endpoint, such as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock"
_UNITS = {"s": 1.0, "m": 60.0}


def add_status(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "status",
        "show the state of running proxies",
        "Queries the admin endpoint of a running proxy and shows its configuration, reloads, listeners, "
        "tunnels by target, drains and warnings.",
    )
    parser.add_argument(
        "urls",
        nargs="+",
        type=as_url,
        metavar="URL",
        help=f"{_ENDPOINT}; with several, the output adds them up",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON of /status; with several URLs, an array")
    return parser


def add_drain(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "drain",
        "move clients away from a target or a route",
        "Drains a target or a route of a running proxy. New connections use the other targets of the "
        "route, and the proxy closes open tunnels at the given rate, with jitter, so that clients do not reconnect all "
        "at once. Shows the remaining clients until none is left; Ctrl-C stops only this display. The drain continues "
        "until --undo. It survives a reload, but not a restart.",
    )
    parser.add_argument("name", metavar="TARGET|ROUTE", help="host:port of a target, or the server_name of a route")
    parser.add_argument(
        "--admin",
        type=as_url,
        metavar="URL",
        required=True,
        action="append",
        help=f"{_ENDPOINT}; repeat it for each instance",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=10.0,
        metavar="N/s",
        help="tunnels per second (N/s) or per minute (N/m), in all instances together; default: 10/s",
    )
    parser.add_argument("--undo", action="store_true", help="cancel the drain: allow new connections again")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of [admin] token_file; required for http://, not for unix:",
    )
    return parser


def run_status(options: argparse.Namespace, out: TextIO) -> int:
    """Print the status. @raise AdminError: a query failed; the answers of the other instances have been printed."""
    found, errors = query_all(options.urls, fetch_status)
    if options.json:
        documents = list(found.values())
        print(json.dumps(documents if len(options.urls) > 1 else documents[0], indent=2), file=out)
    else:
        try:
            print("\n".join(lines(found)), file=out)
        except (KeyError, TypeError, AttributeError) as error:
            raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error
    _raise_all(errors)
    return 0


def run_drain(options: argparse.Namespace, out: TextIO, wait: Callable[[float], object] | None = None) -> int:
    """Drain a target or route, or cancel the drain, and print the progress.

    @param wait: waits for a number of seconds. @raise AdminError: a query failed, or there is no such target.
    """
    wait = wait or threading.Event().wait
    urls, token = options.admin, read_token(options.token_file)
    if options.undo:
        undone, errors = query_all(urls, lambda url: undrain(url, options.name, token))
        done = merged_drains(undone.values())[0]
        print(f"{_title(done)}: drain cancelled, new connections allowed; {done['closed']} closed", file=out)
        _raise_all(errors)
        return 0
    begun, errors = query_all(urls, lambda url: drain(url, options.name, options.rate / len(urls), token))
    found: dict[str, Any] | None = merged_drains(begun.values())[0]
    printed = None
    try:
        while found is not None:
            line = f"{_title(found)}: {found['closed']} closed, {found['refused']} refused, {found['left']} left"
            if line != printed:
                clients = ", ".join(found["clients"][:5])
                print(f"{line}{f': {clients}' if clients else ''}", file=out, flush=True)
                printed = line
            if not found["left"]:
                route = found["kind"] == "route"
                refuses = "this route refuses clients" if route else "routes with no other target refuse clients"
                print(f"{refuses} until you run: {_undo_command(options)}", file=out)
                _raise_all(errors)
                return 0
            wait(POLL_INTERVAL_S)
            key = (found["kind"], found["name"])
            answers, _ = query_all(list(begun), lambda url: fetch_status(url, tunnels=0))
            drains = merged_drains(one for answer in answers.values() for one in answer["drains"])
            found = next((one for one in drains if (one["kind"], one["name"]) == key), None)
        print("drain cancelled by another command", file=out)
        return 1
    except KeyboardInterrupt:
        print(f"the drain continues; to cancel it, run: {_undo_command(options)}", file=out)
        return INTERRUPTED


def read_token(path: str | None, option: str = "--token-file") -> str | None:
    """Read a token from a file. @param path: None: there is none. @param option: for errors.

    @raise AdminError: the file cannot be read, or has no valid token.
    """
    if path is None:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(MAX_TOKEN_BYTES + 1).strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not ASCII"
        raise AdminError(f"{option} {printable(path)}: {why}") from error
    if not token.isprintable() or not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise AdminError(f"{option} {printable(path)}: must contain one line with a token")
    return token


def _undo_command(options: argparse.Namespace) -> str:
    words = ["sniproxyctl", "drain", options.name, *(word for url in options.admin for word in ("--admin", url))]
    if options.token_file is not None:
        words += ["--token-file", options.token_file]
    return f"{shlex.join(words)} --undo"


def fetch_ledgers(urls: Sequence[str]) -> LedgerSnapshot:
    """Fetch the ledgers of running proxies, merged into one. @raise AdminError: a query failed."""
    found, errors = query_all(urls, fetch_ledger)
    _raise_all(errors)
    return merged_ledgers(found.values())


def query_all(urls: Sequence[str], query: Callable[[str], T]) -> tuple[dict[str, T], list[AdminError]]:
    """Query several instances, each once. @return: the answers by URL, and the errors of the other instances.

    @raise AdminError: all queries failed.
    """
    answers: dict[str, T] = {}
    errors = []
    for url in dict.fromkeys(urls):
        try:
            answers[url] = query(url)
        except AdminError as error:
            errors.append(AdminError(f"{printable(url)}: {error}") if len(urls) > 1 else error)
    if not answers:
        _raise_all(errors)
    return answers, errors


def _raise_all(errors: Sequence[AdminError]) -> None:
    if errors:
        raise AdminError("; ".join(map(str, errors)))


def lines(documents: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The text of ``status``. @param documents: the JSON of ``/status`` of each instance, by URL."""
    for url, one in documents.items():
        age = duration(one["time"] - one["started"])
        which = f"{printable(url)}: " if len(documents) > 1 else ""
        worker = "" if one["instance"] is None else f", worker {one['instance']}"
        yield f"{which}sniproxy {printable(one['version'])}{worker}, {one['state']}, started {age} ago"
        configuration = one["configuration"]
        reloads = configuration["reloads"]
        yield (
            f"{which}configuration {printable(configuration['file'])}, loaded "
            f"{duration(one['time'] - configuration['since'])} ago; reloads: {reloads['succeeded']} succeeded, "
            f"{reloads['failed']} failed"
        )
        if "relay" in one:  # older instances have none
            yield f"{which}{_relay(one['relay'])}"
    document = merged_status(list(documents.values()))
    totals = document["totals"]
    yield from _configuration_lines(document)
    yield (
        f"{counted(document['live'], 'open connection')}; since start: {totals['ended']} ended, "
        f"{totals['refused']} refused, {amount(totals['bytes_up'])} up, {amount(totals['bytes_down'])} down"
    )
    by_target = Counter(tunnel["target"] for tunnel in document["tunnels"] if tunnel["target"] is not None)
    shown = len(document["tunnels"])
    newest = "" if shown == document["live"] else f" of the newest {shown}"
    for target, count in by_target.most_common():
        yield f"  {count:>6}{newest}  {printable(target)}"
    for one in document["targets"]:
        why = f": {bounded(one['why'])}" if one["why"] else ""
        yield f"target {printable(one['target'])}: {one['state']}, {counted(one['connections'], 'connection')}{why}"
    for one in document["drains"]:
        yield f"draining {_title(one)} at {one['rate']:g}/s: {one['closed']} closed, {one['left']} left"
    for warning in document["warnings"]:
        yield f"warning: {bounded(warning)}"
    omitted = document["warning_count"] - len(document["warnings"])
    if omitted:
        yield f"{counted(omitted, 'more warning')} in the log of the proxy"


def _relay(relay: dict[str, Any]) -> str:
    if relay["relay"] == "engine":
        return f"relay: engine, {counted(relay['threads'], 'thread')}"
    return f"relay: python: {bounded(relay['why'])}" if relay["why"] else "relay: python"


def _configuration_lines(document: dict[str, Any]) -> Iterator[str]:
    """A summary of the configuration, with at most L{MAX_ROUTES} routes."""
    configuration = document["configuration"]
    modes = {one["name"]: _mode(one) for one in configuration["listeners"]}
    for one in document["listeners"]:
        where = one["address"] or printable(one["endpoint"])
        yield f"listener {printable(one['name'])}: {where}{modes.get(one['name'], '')}"
    routes = configuration["routes"][:MAX_ROUTES]
    for route in routes:
        listener = "" if route["listener"] is None else f" (on {printable(route['listener'])})"
        yield f"route {printable(route['server_name'])}{listener}: {_destination(route)}"
    if configuration["route_count"] > len(routes):
        yield f"{counted(configuration['route_count'] - len(routes), 'more route')}"
    for name, what in (("default", "other names"), ("no_server_name", "no server name")):
        if configuration[name] is not None:
            yield f"{what}: {_destination(configuration[name])}"
    health, limits = configuration["health"], configuration["limits"]
    yield f"timeouts: {_values(configuration['timeouts'])}"
    if limits["rate_per_client"] is None:
        limits = {**limits, "burst_per_client": None}
    if text := _values(limits):
        yield f"limits: {text}"
    if health["check"] or health["eject"]:
        yield f"health: {_values(health)}"
    yield f"policy: {_values(configuration['policy'])}"


def _mode(one: dict[str, Any]) -> str:
    inspected = ", inspected" if one["inspect"] else ""
    if one["mode"] == "plaintext":
        return f", plaintext to {_destination(one)}{inspected}"
    if one["mode"] == "bridge":
        proxy = f" through proxy {printable(one['proxy'])}" if one["proxy"] else ""
        return f", bridge to {printable(one['service_url'])}{proxy}{inspected}"
    return f", terminates TLS{inspected}" if one["mode"] == "ends_tls" else ""


def _destination(route: dict[str, Any]) -> str:
    targets = ", ".join(map(printable, route["targets"]))
    resolvers = ", then ".join(f"resolver {printable(name)}" for name in route["resolvers"])
    least = route["balance"] == "least_connections"
    balance = " (least connections)" if least else " (round robin)" if len(route["targets"]) > 1 else ""
    return f"{resolvers or targets}{balance}"


def _values(table: dict[str, Any]) -> str:
    """The settings that have a value, in one line."""
    texts = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in table.items()}
    return ", ".join(f"{key} {printable(f'{value}')}" for key, value in texts.items() if value not in (None, ""))


def _title(found: dict[str, Any]) -> str:
    return f"{found['kind']} {printable(found['name'])}"


def duration(seconds: float) -> str:
    """A time in seconds, in the largest unit of which there are at least two."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _rate(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([sm]))?", text, re.ASCII)
    rate = float(match[1]) / _UNITS[match[2] or "s"] if match else 0.0
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError(f"invalid rate {text!r}; write 10/s or 30/m")
    return rate
