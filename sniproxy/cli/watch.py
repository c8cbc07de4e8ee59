"""``sniproxyctl status --watch``: the status again and again, with the rates in between."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TextIO

from sniproxy.cli.adminclient import AdminError, fetch_status
from sniproxy.cli.admincommands import query_all, text_of
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.rates import Rates, added, rates

_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
"""To the first line; clear the rest of a line; clear all below. The screen is never empty, so it does not flicker."""


def run_watch(
    options: argparse.Namespace, out: TextIO, error: TextIO, wait: Callable[[float], object] | None = None
) -> int:
    """Print the status at an interval until Ctrl-C. An error after the first answer is printed, and queries go on.

    @param wait: waits for a number of seconds. @raise AdminError: no endpoint answered the first query.
    """
    wait = wait or threading.Event().wait
    readings = Readings(options.urls)
    try:
        first = True
        while True:
            try:
                documents, now, errors = readings.read()
            except AdminError as failure:
                if first:
                    raise
                print(f"sniproxyctl: {failure}; retrying", file=error, flush=True)
            else:
                for one in errors:
                    print(f"sniproxyctl: {one}; retrying", file=error, flush=True)
                write = _write_json if options.json else _write_screen if out.isatty() else _write_block
                write(documents, now, options, out, first)
                first = False
            wait(options.watch)
    except KeyboardInterrupt:
        return INTERRUPTED


class Readings:
    """Reads the status of several endpoints, and computes the rates since the reading before.

    @param query: fetches C{/status}. @param clock: monotonic seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        query: Callable[[str], dict[str, Any]] = fetch_status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = urls
        self._query = query
        self._clock = clock
        self._before: dict[str, tuple[dict[str, Any], float]] = {}

    def read(self) -> tuple[dict[str, dict[str, Any]], Rates | None, list[AdminError]]:
        """Query all endpoints once.

        @return: the answers by URL; their rates, None if there is no earlier answer; the errors of the others.
        @raise AdminError: no endpoint answered.
        """
        found, errors = query_all(self._urls, self._query)
        now, before = self._clock(), self._before
        both = [rates(before[url][0], one, now - before[url][1]) for url, one in found.items() if url in before]
        self._before = {**before, **{url: (one, now) for url, one in found.items()}}
        return found, added(both) if both else None, errors


def _write_json(
    documents: dict[str, dict[str, Any]], now: Rates | None, options: argparse.Namespace, out: TextIO, first: bool
) -> None:
    found = list(documents.values())
    print(json.dumps(found if len(options.urls) > 1 else found[0]), file=out, flush=True)


def _write_block(
    documents: dict[str, dict[str, Any]], now: Rates | None, options: argparse.Namespace, out: TextIO, first: bool
) -> None:
    text = "\n".join(_block(documents, now))
    print(text if first else f"\n{text}", file=out, flush=True)


def _write_screen(
    documents: dict[str, dict[str, Any]], now: Rates | None, options: argparse.Namespace, out: TextIO, first: bool
) -> None:
    columns, height = os.get_terminal_size(out.fileno())
    lines = [line[:columns] for line in _block(documents, now)]
    if len(lines) > height - 1:
        shown = max(1, height - 2)
        more = f"{len(lines) - shown} more lines; enlarge the terminal, or use sniproxyctl top"
        lines = [*lines[:shown], more[:columns]]
    if first:
        print(_HOME + _BELOW, end="", file=out)
    print(_HOME + "".join(f"{line}{_END_OF_LINE}\n" for line in lines) + _BELOW, end="", file=out, flush=True)


def _block(documents: dict[str, dict[str, Any]], now: Rates | None) -> Iterator[str]:
    yield datetime.now().astimezone().isoformat(" ", "seconds")
    yield from text_of(documents, now, brief=True)
