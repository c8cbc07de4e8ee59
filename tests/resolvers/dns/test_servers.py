"""Tests for sniproxy.resolvers.dns.servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.dns.servers import REMEMBER_S, ServerStates

ONE, TWO, THREE = (("192.0.2.1", 53), ("192.0.2.2", 53), ("192.0.2.3", 53))


class ServerStatesTests(SynchronousTestCase):
    """The state of each name server."""

    def setUp(self) -> None:
        self.states = ServerStates()

    def test_silent(self) -> None:
        """Silent servers come last; if all are silent, the order is as configured."""
        self.states.record_silence(ONE, 0.0)
        self.assertEqual([TWO, THREE, ONE], self.states.order((ONE, TWO, THREE), 1.0))
        self.states.record_silence(TWO, 1.0)
        self.states.record_silence(THREE, 1.0)
        self.assertEqual([ONE, TWO, THREE], self.states.order((ONE, TWO, THREE), 2.0))

    def test_tried_again(self) -> None:
        """After REMEMBER_S one lookup tries a silent server in its place; the next try is REMEMBER_S later."""
        self.states.record_silence(ONE, 0.0)
        for now in (REMEMBER_S, 2 * REMEMBER_S):
            self.assertEqual([TWO, ONE], self.states.order((ONE, TWO), now - 0.1))
            self.assertEqual([ONE, TWO], self.states.order((ONE, TWO), now))
            self.assertEqual([TWO, ONE], self.states.order((ONE, TWO), now))
        self.states.record_answer(ONE, True, 2 * REMEMBER_S)
        self.assertEqual([ONE, TWO], self.states.order((ONE, TWO), 2 * REMEMBER_S))

    def test_without_edns(self) -> None:
        """A server that answers only without EDNS gets queries without it, until it answers one with EDNS."""
        self.assertFalse(self.states.without_edns(ONE, 0.0))
        for now in (0.0, 10.0):
            self.states.record_answer(ONE, False, now)
            self.assertTrue(self.states.without_edns(ONE, now))
        self.assertEqual([False, True], [self.states.without_edns(ONE, REMEMBER_S) for _ in range(2)])
        self.states.record_answer(ONE, True, REMEMBER_S)
        self.assertFalse(self.states.without_edns(ONE, REMEMBER_S))

    def test_forgotten(self) -> None:
        """A server that is not configured any more is forgotten."""
        self.states.record_silence(ONE, 0.0)
        self.states.record_answer(ONE, False, 0.0)
        self.states.order((TWO,), 1.0)
        self.assertEqual([ONE, TWO], self.states.order((ONE, TWO), 2.0))
        self.states.record_silence(ONE, 0.0)
        self.assertFalse(self.states.without_edns(ONE, 2.0))
