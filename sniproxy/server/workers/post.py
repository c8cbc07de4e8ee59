"""A worker's own end: which one it is, the configuration that it serves, and what its supervisor tells it.

The supervisor hands over the text of the configuration, not the name of a file: all workers serve the same, and one
that takes another's place later serves what is in force, whatever stands in the file by then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import attrs
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from sniproxy.server.workers.lines import LogLines

VARIABLE = "SNIPROXY_WORKER"
"""The environment's word for which worker this is, and its descriptors: ``INDEX:TEXT:ORDERS:REPORTS``."""

RELOAD, REFUSED, REOPEN, STOP, END = "reload", "refused", "reopen", "stop", "end"
"""What a worker is told: serve this text; a new one was refused, and why; open the logs anew; drain; end at once."""

BEAT = "beat"
"""The supervisor's question whether the event loop turns; the worker reports the same word."""

READY, RELOADED = "ready", "reloaded"
"""What it reports, beside L{REFUSED}."""

Obey = Callable[[str, str], None]
"""Takes an order and its text."""


@attrs.define
class Post:
    """@ivar index: which of the workers this is, from 0. @ivar text: the configuration, as last handed over."""

    index: int
    text: str
    _orders: int
    _reports: int

    def begin(self, reactor: Any, obey: Obey) -> None:
        """Obey from now on; when the supervisor is gone, as if it had said L{STOP}."""
        reactor.addReader(_Orders(self._orders, obey))

    def report(self, what: str) -> None:
        """Tell the supervisor. That it may be gone is L{begin}'s affair."""
        try:
            os.write(self._reports, what.encode() + b"\n")
        except OSError:
            pass


def place(index: int, text: int, orders: int, reports: int) -> Mapping[str, str]:
    """What a worker's environment has. @param text: as the others, the number of a descriptor."""
    return {VARIABLE: f"{index}:{text}:{orders}:{reports}"}


def from_environment(environment: MutableMapping[str, str] = os.environ) -> Post | None:
    """What the supervisor has handed over, once. @return: None: this process is nobody's worker."""
    said = environment.pop(VARIABLE, None)
    if said is None:
        return None
    index, text, orders, reports = map(int, said.split(":"))
    os.set_blocking(orders, False)
    return Post(index, _whole(text), orders, reports)


def order(what: str, text: str = "") -> bytes:
    """An order as it is written."""
    return json.dumps([what, text]).encode() + b"\n"


def _whole(descriptor: int) -> str:
    # The file is shared with the other workers, and with it the place where the next read would begin.
    found = b""
    while data := os.pread(descriptor, 1 << 20, len(found)):
        found += data
    os.close(descriptor)
    return found.decode()


class _Orders:
    """Reads the pipe that orders come by."""

    def __init__(self, descriptor: int, obey: Obey) -> None:
        self._descriptor = descriptor
        self._obey = obey
        self._lines = LogLines(lambda line: obey(*json.loads(line)))

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> Exception | None:
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return None
        self._lines.feed(data)
        return None if data else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """The supervisor is gone; or this process is ending, and knows it."""
        self._obey(STOP, "")
