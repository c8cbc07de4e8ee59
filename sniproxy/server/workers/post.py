"""A worker's link to its supervisor: its index, the configuration to serve, and the supervisor's orders.

The supervisor passes the text of the configuration and not its file name. So all workers serve the same configuration,
and a worker that is restarted serves the current one, even if the file has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, MutableMapping

import attrs
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.server.workers.lines import LogLines
from sniproxy.util.reactor import IReactor

VARIABLE = "SNIPROXY_WORKER"
"""The environment variable of a worker, with its index and descriptors: ``INDEX:TEXT:ORDERS:REPORTS``."""

RELOAD, REFUSED, REOPEN, STOP, END = "reload", "refused", "reopen", "stop", "end"
"""Orders: serve this text; the reload failed, for this reason; reopen the logs; drain; end at once."""

UPGRADE = "upgrade"
"""The order to hand everything over to another process. The text is its id; the channel to it came before, by
L{sniproxy.server.workers.sockets}."""

RETIRE = "retire"
"""The order to accept no more connections, and to end when those that are left have ended, at most after
C{timeouts.upgrade_drain} seconds: the configuration has fewer workers now."""

HEARTBEAT = "beat"
"""The supervisor's order to show that the event loop runs. The worker reports the same word, and in some reports
L{sniproxy.server.statecounts.StateCounts} behind it."""

READY, RELOADED, UPGRADED = "ready", "reloaded", "upgraded"
"""A worker's reports, in addition to L{REFUSED}. Behind L{UPGRADED} is a JSON list: why it failed, or null; the
number of tunnels that have moved, and of those that stay; whether the new worker accepts the connections."""

OrderHandler = Callable[[str, str], None]
"""Called with an order and its text."""


@attrs.define
class SupervisorLink:
    """@ivar index: of this worker, from 0. @ivar text: the configuration that the supervisor passed last."""

    index: int
    text: str
    _orders: int
    _reports: int

    def receive_orders(self, reactor: IReactor, obey: OrderHandler) -> None:
        """Call C{obey} with each order, and with L{STOP} when the supervisor has ended, also before this returns."""
        orders = _Orders(self._orders, obey)
        if orders.doRead() is None:
            reactor.addReader(orders)
        else:
            obey(STOP, "")

    def report(self, what: str) -> None:
        """Send a report to the supervisor. It is lost if the supervisor has ended (see L{receive_orders})."""
        try:
            os.write(self._reports, what.encode() + b"\n")
        except OSError:
            pass


def environment_of(index: int, text: int, orders: int, reports: int) -> Mapping[str, str]:
    """The environment of a worker. @param text, orders, reports: descriptor numbers in the worker."""
    return {VARIABLE: f"{index}:{text}:{orders}:{reports}"}


def from_environment(environment: MutableMapping[str, str] = os.environ) -> SupervisorLink | None:
    """The link that the supervisor has passed; the first call only. @return: None if this process is no worker."""
    value = environment.pop(VARIABLE, None)
    if value is None:
        return None
    index, text, orders, reports = map(int, value.split(":"))
    os.set_blocking(orders, False)
    return SupervisorLink(index, _whole(text), orders, reports)


def encode_order(what: str, text: str = "") -> bytes:
    """An order as the pipe carries it."""
    return json.dumps([what, text]).encode() + b"\n"


def _whole(descriptor: int) -> str:
    # All workers share the open file, and so its offset: read by position.
    found = b""
    while data := os.pread(descriptor, 1 << 20, len(found)):
        found += data
    os.close(descriptor)
    return found.decode()


@implementer(IReadDescriptor)
class _Orders:
    """Reads orders from their pipe."""

    def __init__(self, descriptor: int, obey: OrderHandler) -> None:
        self._descriptor = descriptor
        self._obey = obey
        self._lines = LogLines(lambda line: obey(*json.loads(line)))

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> Exception | None:  # type: ignore[override]  # reactors take an exception
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return None
        self._lines.feed(data)
        return None if data else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """The supervisor has ended, or this process is stopping anyway."""
        self._obey(STOP, "")
