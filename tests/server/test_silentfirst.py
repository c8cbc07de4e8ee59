"""Tests for sniproxy.server.silentfirst."""

from __future__ import annotations

from typing import cast

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.server.silentfirst import SilentFirst


@attrs.define(eq=False)
class Tunnel:
    """The bytes of a tunnel."""

    name: str
    bytes_up: int = 0
    bytes_down: int = 0


class OrderTests(SynchronousTestCase):
    """The order of tunnels."""

    def setUp(self) -> None:
        self.tunnels = [Tunnel("a", 100), Tunnel("b", 0, 9), Tunnel("c", 5, 5)]
        self.rounds = SilentFirst(self.lives())

    def lives(self) -> list[Lifecycle]:
        return cast(list[Lifecycle], self.tunnels)

    def order(self) -> str:
        return "".join(cast(Tunnel, one).name for one in self.rounds.order(self.lives()))

    def test_since_last_round(self) -> None:
        """Only bytes since the last round count, in both directions together; equal ones keep their order."""
        self.assertEqual("abc", self.order())
        self.tunnels[0].bytes_up += 3
        self.tunnels[1].bytes_down += 2
        self.assertEqual("cba", self.order())
        self.tunnels[2].bytes_up += 1
        self.assertEqual("abc", self.order())

    def test_new(self) -> None:
        """All bytes of a new tunnel count; one that has ended is forgotten."""
        self.tunnels[0] = Tunnel("d", 1)
        self.assertEqual("bcd", self.order())
        self.assertEqual("dbc", self.order())

    def test_first_round(self) -> None:
        """Without a beginning, all bytes count."""
        self.rounds = SilentFirst()
        self.assertEqual("bca", self.order())
