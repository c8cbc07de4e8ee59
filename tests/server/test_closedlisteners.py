"""Tests for sniproxy.server.closedlisteners."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import CLOSED
from sniproxy.config.model import Listener
from sniproxy.config.parser import parse
from sniproxy.server.closedlisteners import ClosedListeners

NAME = "broker.test"

TEXT = (
    '[[listener]]\nname = "closing"\nendpoint = "tcp:1"\nclosed_when_down = "broker.test"\n'
    '[[listener]]\nname = "open"\nendpoint = "tcp:2"\n[health]\ncheck = "tcp"\n'
    '[[route]]\nserver_name = "broker.test"\ntarget = ["10.0.0.1:1", "10.0.0.2:1"]\n'
)


class ClosedListenersTests(SynchronousTestCase):
    """ClosedListeners.

    @ivar states: of targets, by host; others are up. @ivar why: by listener; None: nothing was asked.
    """

    def setUp(self) -> None:
        self.states: dict[str, str] = {}
        self.why: dict[str, str | None] | None = None
        self.configuration = parse(TEXT, "x.toml")
        listeners: Any = SimpleNamespace(closed=frozenset(), follow=self.follow)
        self.listeners = listeners
        upstreams: Any = SimpleNamespace(state=lambda target, now: self.states.get(target.host, "up"))
        self.closed = ClosedListeners(listeners, upstreams, lambda: 5.0)

    def follow(self, why_closed: Callable[[Listener], str | None]) -> None:
        self.why = {one.name: why_closed(one) for one in self.configuration.listeners}

    def test_up(self) -> None:
        """One target that is up keeps the listener open."""
        self.states = {"10.0.0.1": "down"}
        self.closed.change(self.configuration)
        self.assertEqual({"closing": None, "open": None}, self.why)

    def test_down(self) -> None:
        """The listener is closed when all are down or ejected, and open again after that; others stay open."""
        self.closed.change(self.configuration)
        self.states = {"10.0.0.1": "down", "10.0.0.2": "ejected"}
        self.closed.follow()
        self.assertEqual({"closing": CLOSED, "open": None}, self.why)
        self.states = {}
        self.closed.follow()
        self.assertEqual({"closing": None, "open": None}, self.why)

    def test_none(self) -> None:
        """Without such listeners nothing is asked, except to open what an earlier configuration has closed."""
        self.configuration = parse(TEXT.replace('closed_when_down = "broker.test"\n', ""), "x.toml")
        self.closed.change(self.configuration)
        self.assertIsNone(self.why)
        self.listeners.closed = frozenset(["closing"])
        self.closed.follow()
        self.assertEqual({"closing": None, "open": None}, self.why)
