"""Tests for sniproxy.server.upgrade.sender."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection
from sniproxy.server.upgrade import messages, sender
from sniproxy.server.upgrade.messages import Committed, Declined, Message, Took
from sniproxy.server.upgrade.sender import LOOK_INTERVAL_S, MAX_LOOK_INTERVAL_S, WINDOW, TunnelSender
from tests.support.upgrading import FakeConnection, tunnel


class SenderTests(SynchronousTestCase):
    """TunnelSender.

    @ivar sent: messages with the numbers of their descriptors. @ivar none_left: how often no tunnel could be moved.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.live: list[FakeConnection] = []
        self.sent: list[tuple[Message, int]] = []
        self.none_left = 0
        self.left: list[Connection] = []
        self.patch(sender, "resume_relay", lambda conn, state: conn.resume(state))
        self.sender = TunnelSender(
            self.clock, cast("list[Lifecycle]", self.live), self.send, self.left.append, self.count
        )

    def send(self, message: Message, *descriptors: int) -> None:
        self.sent.append((message, len(descriptors)))

    def count(self) -> None:
        self.none_left += 1

    def open(self, count: int = 1) -> list[FakeConnection]:
        """More connections with tunnels."""
        new = [FakeConnection(f"a-{len(self.live) + number + 1}") for number in range(count)]
        for conn in new:
            self.addCleanup(conn.close)
        self.live += new
        return new

    def answer(self, message: Message) -> None:
        self.assertTrue(self.sender.answered(message))

    def test_none(self) -> None:
        """Without tunnels there is nothing to move."""
        self.sender.start()
        self.assertEqual((1, False), (self.none_left, self.sender.waits))
        self.sender.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_move(self) -> None:
        """A tunnel is taken from its relay and sent; when the new process has it, it is closed here."""
        [conn] = self.open()
        self.sender.start()
        self.assertEqual(([], 0), (self.sent, self.none_left))
        state = conn.give(b"u" * 3, b"d" * 70000)
        expected = tunnel(1, b"uuu", b"d" * 70000, elapsed=7.0, half_closing=True)
        self.assertEqual((expected, 2), self.sent[0])
        self.assertEqual([b"uuu", b"d" * 65536, b"d" * 4464], [cast(Any, message).data for message, _ in self.sent[1:]])
        self.assertTrue(self.sender.waits)
        self.answer(Took(1))
        self.assertEqual((1, 1, 1, []), (conn.left, self.sender.moved, self.none_left, conn.resumed))
        self.assertEqual([conn.record], self.left)
        self.assertEqual((-1, -1), (state.client.fileno(), state.target.fileno()))
        self.assertFalse(self.sender.waits)

    def test_no_permit(self) -> None:
        """A connection may count for no limit."""
        [conn] = self.open()
        conn.permit = None
        self.sender.start()
        conn.give()
        self.assertIsNone(cast(messages.Tunnel, self.sent[0][0]).route)

    def test_window(self) -> None:
        """Few tunnels wait at a time, the oldest first; each answer lets the next one go."""
        conns = self.open(WINDOW + 2)
        self.sender.start()
        self.assertEqual([True] * WINDOW + [False] * 2, [conn.asked for conn in conns])
        for conn in conns[:WINDOW]:
            conn.give()
        self.assertFalse(conns[WINDOW].asked)
        self.answer(Took(3))
        self.assertEqual([True, False], [conn.asked for conn in conns[WINDOW:]])
        self.assertEqual(0, self.none_left)

    def test_immovable(self) -> None:
        """Connections that are no tunnel, that cannot be moved, or that are about to end, stay."""
        plain, tls, targetless, ending, [good] = (*self.open(4), self.open())
        plain.tunnel = None
        assert tls.tunnel is not None
        tls.tunnel.movable = False
        targetless.target = None
        ending.ending = True
        self.sender.start()
        self.assertEqual([good], [conn for conn in self.live if conn.asked])

    def test_changed(self) -> None:
        """A tunnel that cannot be moved any more when its turn comes stays."""
        conns = self.open(WINDOW + 1)
        self.sender.start()
        conns[-1].ending = True
        for conn in conns[:WINDOW]:
            conn.give()
        for number in range(WINDOW):
            self.answer(Took(number + 1))
        self.assertEqual((WINDOW, 1, False), (self.sender.moved, self.none_left, conns[-1].asked))

    def test_later(self) -> None:
        """Tunnels that open later are found, and those that have moved are not looked at again."""
        self.sender.start()
        [conn] = self.open()
        self.clock.advance(LOOK_INTERVAL_S)
        self.assertTrue(conn.asked)
        conn.give()
        [other] = self.open()
        self.clock.advance(LOOK_INTERVAL_S)
        self.assertFalse(other.asked)  # the first one is on its way
        self.live.remove(conn)
        self.answer(Took(1))
        self.clock.advance(LOOK_INTERVAL_S)
        self.assertTrue(other.asked)

    def test_seldom(self) -> None:
        """It looks less and less often while no tunnel can be moved, and often again after one."""
        self.sender.start()
        waits = []
        for _ in range(9):
            [call] = self.clock.getDelayedCalls()
            waits.append(call.getTime() - self.clock.seconds())
            self.clock.advance(waits[-1])
        self.assertEqual(sorted(waits), waits)
        self.assertEqual(MAX_LOOK_INTERVAL_S, round(waits[-1], 3))
        [conn] = self.open()
        for _ in range(2):
            [call] = self.clock.getDelayedCalls()
            self.clock.advance(call.getTime() - self.clock.seconds())
        self.assertTrue(conn.asked)
        [call] = self.clock.getDelayedCalls()
        self.assertEqual(LOOK_INTERVAL_S, round(call.getTime() - self.clock.seconds(), 3))

    def test_ended(self) -> None:
        """A tunnel may end instead of being given back."""
        [conn] = self.open()
        self.sender.start()
        self.live.remove(conn)
        conn.ended = True
        self.clock.advance(LOOK_INTERVAL_S)
        self.assertEqual(1, self.none_left)

    def test_to_end(self) -> None:
        """A tunnel that is to end when it is given back ends here."""
        [conn] = self.open()
        self.sender.start()
        conn.ending = True
        state = conn.give()
        self.assertEqual(([state], []), (conn.resumed, self.sent))

    def test_declined(self) -> None:
        """The new process declines a tunnel: it continues here, and so do all others, for the same reason."""
        first, second = self.open(2)
        [*_] = self.open(WINDOW)
        self.sender.start()
        states = [first.give(), second.give()]
        self.answer(Declined(1, "full"))
        self.assertEqual(([states[0]], "full"), (first.resumed, self.sender.declined))
        self.assertEqual(WINDOW, sum(conn.asked for conn in self.live) + 2)
        self.answer(Took(2))
        self.assertEqual((1, 0), (second.left, self.none_left))
        for conn in self.live[2:WINDOW]:
            conn.give()
            self.assertEqual(1, len(conn.resumed))
        self.clock.advance(LOOK_INTERVAL_S)
        self.assertEqual((False, 1), (any(conn.asked for conn in self.live), self.sender.moved))
        self.assertGreater(self.none_left, 0)

    def test_stop(self) -> None:
        """What the new process has not taken continues here, now or when its relay gives it back."""
        asked, sent = self.open(2)
        self.sender.start()
        state = sent.give()
        self.sender.stop()
        self.assertEqual([state], sent.resumed)
        self.assertFalse(self.sender.waits)
        state = asked.give()
        self.assertEqual([state], asked.resumed)
        self.assertFalse(self.sender.answered(Took(1)))
        self.assertEqual(([], 0), (self.clock.getDelayedCalls(), self.none_left))
        self.sender.stop()

    def test_other_messages(self) -> None:
        """A message that answers nothing is left to others."""
        [conn] = self.open()
        self.sender.start()
        conn.give()
        for message in (Took(2), Declined(9, "x"), Committed()):
            self.assertFalse(self.sender.answered(message))
