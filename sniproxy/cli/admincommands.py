"""``sniproxyctl status`` and ``sniproxyctl drain``: what a running proxy does, and ending a target's tunnels."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from sniproxy.cli.adminclient import AdminError, as_url, drain, known, status, undrain
from sniproxy.cli.merge import merged_drains, merged_ledgers, merged_status
from sniproxy.inspector.entries import LedgerSnapshot
from sniproxy.util.text import amount, bounded, counted, printable

T = TypeVar("T")

POLL_INTERVAL_S = 1.0
"""Seconds between two looks at who is left."""

INTERRUPTED = 130

MAX_TOKEN_BYTES = 4096
"""Characters of a token."""

MAX_ROUTES = 10
"""Routes that C{status} shows for people."""

_UNITS = {"s": 1.0, "m": 60.0}


def add_status(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "status",
        allow_abbrev=False,
        help="what a running proxy does",
        description="Shows what a running proxy does, by its admin endpoint: the configuration in force, reloads, "
        "listeners, tunnels by target, what is being drained, warnings.",
    )
    parser.add_argument(
        "urls",
        nargs="+",
        type=as_url,
        metavar="URL",
        help="the admin endpoint, as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock; of several instances, all "
        "of them: they are added up",
    )
    parser.add_argument("--json", action="store_true", help="the JSON of /status as it is; of several, a list")
    return parser


def add_drain(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "drain",
        allow_abbrev=False,
        help="end the tunnels of a target or a route one by one, and give it no new ones",
        description="Ends the tunnels of a target or a route of a running proxy at a rate, with jitter, so that its "
        "clients do not come back all at once, and gives it no new connections: other targets of the route are used. "
        "It shows who is left until nobody is; Ctrl-C ends the showing alone. The drain stays until --undo, over "
        "reloads too, but not over a restart.",
    )
    parser.add_argument("name", metavar="TARGET|ROUTE", help="host:port, or a route's server_name")
    parser.add_argument(
        "--admin",
        type=as_url,
        metavar="URL",
        required=True,
        action="append",
        help="the admin endpoint, as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock; repeats: of several "
        "instances, all of them",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=10.0,
        metavar="N/s",
        help="tunnels a second, or N/m a minute (10/s); of several instances, all of them together",
    )
    parser.add_argument("--undo", action="store_true", help="give it new connections again")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of [admin] token_file: needed by http://, not by unix:",
    )
    return parser


def run_status(options: argparse.Namespace, out: TextIO) -> int:
    """@raise AdminError: the proxy cannot be asked; of several, one: the others have been shown."""
    found, errors = ask_all(options.urls, status)
    if options.json:
        documents = list(found.values())
        print(json.dumps(documents if len(options.urls) > 1 else documents[0], indent=2), file=out)
    else:
        try:
            print("\n".join(lines(found)), file=out)
        except (KeyError, TypeError, AttributeError) as error:
            raise AdminError(f"its answer is not one of this release's: {error!r}") from error
    _raise_all(errors)
    return 0


def run_drain(options: argparse.Namespace, out: TextIO, wait: Callable[[float], object] | None = None) -> int:
    """@param wait: waits so many seconds. @raise AdminError: the proxy cannot be asked, or has no such target."""
    wait = wait or threading.Event().wait
    urls, token = options.admin, _token(options.token_file)
    if options.undo:
        undone, errors = ask_all(urls, lambda url: undrain(url, options.name, token))
        done = merged_drains(undone.values())[0]
        print(f"{_goal(done)} gets new connections again; {done['closed']} were closed", file=out)
        _raise_all(errors)
        return 0
    begun, errors = ask_all(urls, lambda url: drain(url, options.name, options.rate / len(urls), token))
    found: dict[str, Any] | None = merged_drains(begun.values())[0]
    said = None
    try:
        while found is not None:
            line = f"{_goal(found)}: {found['closed']} closed, {found['refused']} refused, {found['left']} left"
            if line != said:
                clients = ", ".join(found["clients"][:5])
                print(f"{line}{f': {clients}' if clients else ''}", file=out, flush=True)
                said = line
            if not found["left"]:
                route = found["kind"] == "route"
                stays = "its clients are refused" if route else "a route that leads only there refuses its clients"
                print(f"{stays}, until it is undone by: {_undo(options)}", file=out)
                _raise_all(errors)
                return 0
            wait(POLL_INTERVAL_S)
            key = (found["kind"], found["name"])
            answers, _ = ask_all(list(begun), lambda url: status(url, tunnels=0))
            drains = merged_drains(one for answer in answers.values() for one in answer["drains"])
            found = next((one for one in drains if (one["kind"], one["name"]) == key), None)
        print("somebody has undone it", file=out)
        return 1
    except KeyboardInterrupt:
        print(f"it goes on; undo it by: {_undo(options)}", file=out)
        return INTERRUPTED


def _token(path: str | None) -> str | None:
    """The token in a file. @raise AdminError: it cannot be read, or holds none."""
    if path is None:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(MAX_TOKEN_BYTES + 1).strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise AdminError(f"--token-file {printable(path)}: {why}") from error
    if not token.isprintable() or not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise AdminError(f"--token-file {printable(path)}: it does not hold one line with a token")
    return token


def _undo(options: argparse.Namespace) -> str:
    words = ["sniproxyctl", "drain", options.name, *(word for url in options.admin for word in ("--admin", url))]
    if options.token_file is not None:
        words += ["--token-file", options.token_file]
    return f"{shlex.join(words)} --undo"


def running_ledgers(urls: Sequence[str]) -> LedgerSnapshot:
    """The ledgers of running proxies as one. @raise AdminError: one of them cannot be asked."""
    found, errors = ask_all(urls, known)
    _raise_all(errors)
    return merged_ledgers(found.values())


def ask_all(urls: Sequence[str], ask: Callable[[str], T]) -> tuple[dict[str, T], list[AdminError]]:
    """Ask several instances, each once. @return: the answers, by URL, and what could not be asked, of which some could.

    @raise AdminError: none could.
    """
    answers: dict[str, T] = {}
    errors = []
    for url in dict.fromkeys(urls):
        try:
            answers[url] = ask(url)
        except AdminError as error:
            errors.append(AdminError(f"{printable(url)}: {error}") if len(urls) > 1 else error)
    if not answers:
        _raise_all(errors)
    return answers, errors


def _raise_all(errors: Sequence[AdminError]) -> None:
    if errors:
        raise AdminError("; ".join(map(str, errors)))


def lines(documents: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The JSON of ``/status``, of one instance or, by their URLs, of several, for people."""
    for url, one in documents.items():
        age = _span(one["time"] - one["started"])
        which = f"{printable(url)}: " if len(documents) > 1 else ""
        worker = "" if one["instance"] is None else f", worker {one['instance']}"
        yield f"{which}sniproxy {printable(one['version'])}{worker}, {one['state']}, started {age} ago"
        configuration = one["configuration"]
        reloads = configuration["reloads"]
        yield (
            f"{which}configuration {printable(configuration['file'])}, in force for "
            f"{_span(one['time'] - configuration['since'])}; reloads: {reloads['succeeded']} taken, "
            f"{reloads['failed']} refused"
        )
    document = merged_status(list(documents.values()))
    totals = document["totals"]
    yield from _in_force(document)
    yield (
        f"{counted(document['live'], 'connection')} now; since the start {totals['ended']} ended, "
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
        yield f"draining {_goal(one)} at {one['rate']:g} a second: {one['closed']} closed, {one['left']} left"
    for warning in document["warnings"]:
        yield f"warning: {bounded(warning)}"
    unsaid = document["warning_count"] - len(document["warnings"])
    if unsaid:
        yield f"and {counted(unsaid, 'more warning')}, in the program's log"


def _in_force(document: dict[str, Any]) -> Iterator[str]:
    """What the configuration in force means, in short; of very many routes the first."""
    configuration = document["configuration"]
    ways = {one["name"]: _way(one) for one in configuration["listeners"]}
    for one in document["listeners"]:
        where = one["address"] or printable(one["endpoint"])
        yield f"listener {printable(one['name'])}: {where}{ways.get(one['name'], '')}"
    routes = configuration["routes"][:MAX_ROUTES]
    for route in routes:
        listener = "" if route["listener"] is None else f" (on {printable(route['listener'])})"
        yield f"route {printable(route['server_name'])}{listener}: {_leads(route)}"
    if configuration["route_count"] > len(routes):
        yield f"and {counted(configuration['route_count'] - len(routes), 'more route')}"
    for name, what in (("default", "any other name"), ("no_server_name", "no server name")):
        if configuration[name] is not None:
            yield f"{what}: {_leads(configuration[name])}"
    health, limits = configuration["health"], configuration["limits"]
    yield f"timeouts: {_values(configuration['timeouts'])}"
    if limits["rate_per_client"] is None:
        limits = {**limits, "burst_per_client": None}
    if said := _values(limits):
        yield f"limits: {said}"
    if health["check"] or health["eject"]:
        yield f"health: {_values(health)}"
    yield f"policy: {_values(configuration['policy'])}"


def _way(one: dict[str, Any]) -> str:
    inspected = ", inspected" if one["inspect"] else ""
    if one["mode"] == "plaintext":
        return f", plaintext to {_leads(one)}{inspected}"
    if one["mode"] == "bridge":
        by = f" by {printable(one['proxy'])}" if one["proxy"] else ""
        return f", a bridge to {printable(one['service_url'])}{by}{inspected}"
    return f", ends TLS{inspected}" if one["mode"] == "ends_tls" else ""


def _leads(route: dict[str, Any]) -> str:
    targets = ", ".join(map(printable, route["targets"]))
    asked = ", then ".join(f"resolver {printable(name)}" for name in route["resolvers"])
    least = route["balance"] == "least_connections"
    balance = " (least connections)" if least else " (in turn)" if len(route["targets"]) > 1 else ""
    return f"{asked or targets}{balance}"


def _values(table: dict[str, Any]) -> str:
    """What is set, in one line."""
    said = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in table.items()}
    return ", ".join(f"{key} {printable(f'{value}')}" for key, value in said.items() if value not in (None, ""))


def _goal(found: dict[str, Any]) -> str:
    return f"{found['kind']} {printable(found['name'])}"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _rate(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([sm]))?", text, re.ASCII)
    rate = float(match[1]) / _UNITS[match[2] or "s"] if match else 0.0
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; write it as 10/s, or 30/m")
    return rate
