"""The commands ``sniproxyctl status`` and ``sniproxyctl drain``, which query running proxies."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from sniproxy.admin.aggregation import merged_drains, merged_ledgers
from sniproxy.cli.adminclient import DEFAULT_URL, AdminError, as_url, drain, fetch_ledger, fetch_status, undrain
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.rates import Rates
from sniproxy.cli.statustext import drain_title, lines
from sniproxy.cli.subcommand import add_command
from sniproxy.cli.watchoptions import DEFAULT_INTERVAL_S, WatchAction
from sniproxy.inspector.entries import LedgerSnapshot
from sniproxy.util.text import printable

T = TypeVar("T")

POLL_INTERVAL_S = 1.0
"""Seconds between two polls of a drain."""

MAX_TOKEN_BYTES = 4096
"""Maximum size of a token."""

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
        nargs="*",
        type=as_url,
        default=[],
        metavar="URL",
        help=f"{_ENDPOINT}; with several, the output adds them up; default: {DEFAULT_URL}",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON of /status; with several URLs, an array")
    parser.add_argument(
        "--watch",
        nargs="?",
        action=WatchAction,
        metavar="SECONDS",
        help="repeat at this interval until Ctrl-C, with the rates in between and without listeners, routes and "
        f"settings; with --json, print one document per line; default: {DEFAULT_INTERVAL_S:g}",
    )
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
    """Print the status once. @raise AdminError: a query failed; the answers of the others have been printed."""
    found, errors = query_all(options.urls, fetch_status)
    if options.json:
        documents = list(found.values())
        print(json.dumps(documents if len(options.urls) > 1 else documents[0], indent=2), file=out)
    else:
        print("\n".join(text_of(found)), file=out)
    _raise_all(errors)
    return 0


def text_of(documents: Mapping[str, dict[str, Any]], now: Rates | None = None, *, brief: bool = False) -> list[str]:
    """The text of ``status``, as L{lines}. @raise AdminError: an answer has another form."""
    try:
        return list(lines(documents, now, brief=brief))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error


def run_drain(options: argparse.Namespace, out: TextIO, wait: Callable[[float], object] | None = None) -> int:
    """Drain a target or route, or cancel the drain, and print the progress.

    @param wait: waits for a number of seconds. @raise AdminError: a query failed, or there is no such target.
    """
    wait = wait or threading.Event().wait
    urls, token = options.admin, read_token(options.token_file)
    if options.undo:
        undone, errors = query_all(urls, lambda url: undrain(url, options.name, token))
        done = merged_drains(undone.values())[0]
        print(f"{drain_title(done)}: drain cancelled, new connections allowed; {done['closed']} closed", file=out)
        _raise_all(errors)
        return 0
    begun, errors = query_all(urls, lambda url: drain(url, options.name, options.rate / len(urls), token))
    found: dict[str, Any] | None = merged_drains(begun.values())[0]
    printed = None
    try:
        while found is not None:
            line = f"{drain_title(found)}: {found['closed']} closed, {found['refused']} refused, {found['left']} left"
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
            answers, _ = query_all(list(begun), lambda url: fetch_status(url, limit=0))
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


def _rate(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([sm]))?", text, re.ASCII)
    rate = float(match[1]) / _UNITS[match[2] or "s"] if match else 0.0
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError(f"invalid rate {text!r}; write 10/s or 30/m")
    return rate
