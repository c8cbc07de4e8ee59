"""Tests for sniproxy.relay.idlesweep."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.idlesweep import SWEEP_INTERVAL_S, IdleSweep


class Tunnel:
    """A tunnel that counts its looks. @ivar then: called at each."""

    def __init__(self, then: Callable[[], object] = int) -> None:
        self.looks = 0
        self.then = then

    def check_idle(self) -> None:
        self.looks += 1
        self.then()


class IdleSweepTests(SynchronousTestCase):
    """IdleSweep."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sweep = IdleSweep(self.clock)

    def test_once(self) -> None:
        """Each tunnel gets one look, within a second; then nothing is scheduled."""
        tunnels = [Tunnel() for _ in range(3)]
        for tunnel in tunnels:
            self.sweep.add(tunnel)
        self.sweep.add(tunnels[0])
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.sweep.add(tunnels[0])
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual([2, 1, 1], [tunnel.looks for tunnel in tunnels])

    def test_again(self) -> None:
        """A tunnel that is added during its look waits for the next sweep."""
        tunnel = Tunnel()
        tunnel.then = lambda: self.sweep.add(tunnel) if tunnel.looks == 1 else None
        self.sweep.add(tunnel)
        for looks in (1, 2, 2):
            self.clock.advance(SWEEP_INTERVAL_S)
            self.assertEqual(looks, tunnel.looks)

    def test_ended(self) -> None:
        """A tunnel that has ended gets no look, and leaves nothing scheduled."""
        ended, other = Tunnel(), Tunnel()
        self.sweep.add(ended)
        self.sweep.discard(ended)
        self.sweep.discard(ended)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.sweep.add(ended)
        self.sweep.add(other)
        self.sweep.discard(ended)
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual((0, 1), (ended.looks, other.looks))

    def test_ended_by_another(self) -> None:
        """A tunnel that ends during the look at another gets none."""
        last = Tunnel()
        self.sweep.add(Tunnel(lambda: self.sweep.discard(last)))
        self.sweep.add(last)
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual(0, last.looks)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_fault(self) -> None:
        """A fault in one look is logged, and the others get theirs."""
        other = Tunnel()
        self.sweep.add(Tunnel(lambda: 1 / 0))
        self.sweep.add(other)
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual(1, other.looks)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
