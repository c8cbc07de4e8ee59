"""Tests for sniproxy.logs.opened."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Connection
from sniproxy.logs.opened import BATCH, MIN_DROP, TICK_S, OpenTunnels


class OpenTunnelsTests(SynchronousTestCase):
    """OpenTunnels, with a manual clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[Connection] = []

    def opened(self, tunnels: OpenTunnels, name: str = "1") -> Any:
        begun = self.clock.seconds()
        tunnel = SimpleNamespace(
            record=Connection(name, 0.0, "public", "c:1"), bytes_up=1, bytes_down=2, ended=False,
            elapsed=lambda: self.clock.seconds() - begun,
        )  # fmt: skip
        tunnels(tunnel)
        return tunnel

    def test_once(self) -> None:
        """Without a repeat each tunnel has one line, and no timer runs."""
        tunnel = self.opened(OpenTunnels(self.clock, self.lines.append, 0.0))
        (line,) = self.lines
        self.assertEqual(("1", 1, 2, 0.0), (line.id, line.bytes_up, line.bytes_down, line.total_s))
        self.assertEqual((0, []), (tunnel.record.bytes_up, self.clock.getDelayedCalls()))

    def test_repeat(self) -> None:
        """A tunnel has a line again after each interval, with its bytes so far, until it ends."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 10.0)
        first, _ = self.opened(tunnels, "1"), self.opened(tunnels, "2")
        self.clock.pump([TICK_S] * 9)
        self.assertEqual(2, len(self.lines))
        first.bytes_up = 7
        self.clock.pump([TICK_S] * 2)
        self.assertEqual([("1", 7, 10.0), ("2", 1, 10.0)], [(x.id, x.bytes_up, x.total_s) for x in self.lines[2:]])
        first.ended = True
        self.clock.pump([TICK_S] * 10)
        self.assertEqual(["1", "2", "1", "2", "2"], [line.id for line in self.lines])

    def test_all_ended(self) -> None:
        """The timer stops with the last tunnel, and a new one starts it."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 2.0)
        self.opened(tunnels).ended = True
        self.clock.pump([TICK_S] * 3)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.opened(tunnels)
        self.clock.pump([TICK_S] * 3)
        self.assertEqual(3, len(self.lines))

    def test_short_tunnels(self) -> None:
        """Tunnels that have ended are not kept until their next line is due; open ones are."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 3600.0)
        self.opened(tunnels, "open")
        for _ in range(5 * MIN_DROP):
            self.opened(tunnels).ended = True
        self.assertLessEqual(len(tunnels._due), MIN_DROP)
        self.lines.clear()
        self.clock.advance(3600)
        self.assertEqual(["open"], [line.id for line in self.lines])
        tunnels.close()

    def test_many(self) -> None:
        """The lines of many tunnels are written in several rounds."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 2.0)
        for _ in range(BATCH + 5):
            self.opened(tunnels)
        self.lines.clear()
        delays: list[float] = []
        later = self.clock.callLater

        def recorded(delay: float, call: Any) -> Any:
            delays.append(delay)
            return later(delay, call)

        self.patch(self.clock, "callLater", recorded)
        self.clock.pump([TICK_S, TICK_S])
        self.assertEqual((BATCH + 5, [TICK_S, 0, TICK_S]), (len(self.lines), delays))

    def test_close(self) -> None:
        """Nothing is written after the close."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 2.0)
        self.opened(tunnels)
        tunnels.close()
        tunnels.close()
        self.clock.pump([TICK_S] * 5)
        self.assertEqual((1, []), (len(self.lines), self.clock.getDelayedCalls()))

    def test_follow(self) -> None:
        """A tunnel whose first line another process has written has the next one."""
        tunnels = OpenTunnels(self.clock, self.lines.append, 2.0)
        tunnel = self.opened(tunnels)
        del self.lines[:]
        tunnels.close()
        tunnels.repeat = 2.0
        tunnels.follow(tunnel)
        self.assertEqual([], self.lines)
        self.clock.pump([TICK_S] * 3)
        self.assertEqual(["1"], [line.id for line in self.lines])
        tunnels.close()
        tunnels.follow(tunnel)
        self.assertEqual([], self.clock.getDelayedCalls())
