"""``sniproxyctl status`` and ``sniproxyctl drain``: what a running proxy does, and ending a target's tunnels."""

from __future__ import annotations

import argparse
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from sniproxy.adminclient import AdminError, drain, status, undrain
from sniproxy.text import amount, bounded, counted, printable

EVERY = 1.0
"""Seconds between two looks at who is left."""

INTERRUPTED = 130

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
    parser.add_argument("url", metavar="URL", help="the admin endpoint, as http://127.0.0.1:9090")
    parser.add_argument("--json", action="store_true", help="the JSON of /status as it is")
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
    parser.add_argument("--admin", metavar="URL", required=True, help="the admin endpoint, as http://127.0.0.1:9090")
    parser.add_argument(
        "--rate", type=_rate, default=10.0, metavar="N/s", help="tunnels a second, or N/m a minute (10/s)"
    )
    parser.add_argument("--undo", action="store_true", help="give it new connections again")
    return parser


def run_status(options: argparse.Namespace, out: TextIO) -> int:
    """@raise AdminError: the proxy cannot be asked."""
    document = status(options.url)
    if options.json:
        print(json.dumps(document, indent=2), file=out)
    else:
        try:
            print("\n".join(lines(document)), file=out)
        except (KeyError, TypeError, AttributeError) as error:
            raise AdminError(f"its answer is not one of this release's: {error!r}") from error
    return 0


def run_drain(options: argparse.Namespace, out: TextIO, wait: Callable[[float], object] | None = None) -> int:
    """@param wait: waits so many seconds. @raise AdminError: the proxy cannot be asked, or has no such target."""
    wait = wait or threading.Event().wait
    if options.undo:
        done = undrain(options.admin, options.name)
        print(f"{_goal(done)} gets new connections again; {done['closed']} were closed", file=out)
        return 0
    found: dict[str, Any] | None = drain(options.admin, options.name, options.rate)
    said = None
    try:
        while found is not None:
            line = f"{_goal(found)}: {found['closed']} closed, {found['refused']} refused, {found['left']} left"
            if line != said:
                clients = ", ".join(found["clients"][:5])
                print(f"{line}{f': {clients}' if clients else ''}", file=out, flush=True)
                said = line
            if not found["left"]:
                return 0
            wait(EVERY)
            key = (found["kind"], found["name"])
            drains = status(options.admin, tunnels=0)["drains"]
            found = next((one for one in drains if (one["kind"], one["name"]) == key), None)
        print("somebody has undone it", file=out)
        return 1
    except KeyboardInterrupt:
        print(f"it goes on; undo it by: sniproxyctl drain {options.name} --admin {options.admin} --undo", file=out)
        return INTERRUPTED


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The JSON of ``/status`` for people."""
    configuration, totals = document["configuration"], document["totals"]
    reloads = configuration["reloads"]
    age = _span(document["time"] - document["started"])
    yield f"sniproxy {printable(document['version'])}, {document['state']}, started {age} ago"
    yield (
        f"configuration {printable(configuration['file'])}, in force for "
        f"{_span(document['time'] - configuration['since'])}; reloads: {reloads['succeeded']} taken, "
        f"{reloads['failed']} refused"
    )
    for listener in document["listeners"]:
        yield f"listener {printable(listener['name'])}: {listener['address'] or printable(listener['endpoint'])}"
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
