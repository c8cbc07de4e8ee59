"""Tests for sniproxy.server.upgrade.old: after the upgrade."""

from __future__ import annotations

import socket

from twisted.logger import capturedLogs, formatEvent

from sniproxy.server.upgrade import sender
from sniproxy.server.upgrade.messages import (
    Aborted,
    Commit,
    Committed,
    Drain,
    Drains,
    Inherited,
    Remaining,
    Reopen,
    Stop,
    Took,
    Tunnel,
)
from sniproxy.server.upgrade.old import (
    ANSWER_TIMEOUT_S,
    CHECK_INTERVAL_S,
    REPORT_INTERVAL_S,
)
from tests.support.oldprocess import PID, OldCase
from tests.support.sockets import in_thread
from tests.support.upgrading import FakeConnection


class LeftTests(OldCase):
    """After the commit."""

    async def test_nothing(self) -> None:
        """Without connections this process ends at once."""
        await self.committed()
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertEqual(1, self.nothing_left)
        self.assertIsNone(await self.heard())
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_report(self) -> None:
        """The new process learns from time to time what is left, and until when."""
        [conn] = self.open()
        conn.tunnel = None
        await self.committed()
        self.upgrade.end(100.0)
        self.clock.pump([CHECK_INTERVAL_S] * int(REPORT_INTERVAL_S / CHECK_INTERVAL_S))
        self.assertEqual(Remaining(1, self.upgrade.ends), await self.heard())
        self.assertEqual(0, self.nothing_left)
        self.live.remove(conn)
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertEqual(1, self.nothing_left)

    async def later(self) -> FakeConnection:
        """@return: a tunnel that opens after the commit, and is on its way."""
        [conn] = self.open()
        conn.tunnel, tunnel = None, conn.tunnel
        await self.committed()
        conn.tunnel = tunnel
        self.clock.advance(sender.LOOK_INTERVAL_S)
        conn.give()
        await self.until(Tunnel)
        return conn

    async def test_later(self) -> None:
        """A tunnel that opens later moves then."""
        conn = await self.later()
        self.say(Took(1))
        while not conn.left:
            await in_thread(int)

    async def test_no_answer(self) -> None:
        """If the new process does not answer, this one keeps what it has, and says so."""
        conn = await self.later()
        with capturedLogs() as logs:
            self.clock.pump([CHECK_INTERVAL_S] * int(ANSWER_TIMEOUT_S / CHECK_INTERVAL_S + 1))
        self.assertEqual(1, len(conn.resumed))
        self.assertIn("1 connection left here", [formatEvent(event) for event in logs][-1])
        await self.until(Aborted)
        self.live.remove(conn)
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertEqual(1, self.nothing_left)

    async def test_lost(self) -> None:
        """The new process may end: this one keeps what it has, until that ends."""
        conn = await self.later()
        self.theirs.close()
        while not conn.resumed:
            await in_thread(int)
        self.live.remove(conn)
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertEqual((1, ["close"]), (self.nothing_left, self.program.calls))

    async def test_stop(self) -> None:
        """The proxy stops: a tunnel on its way ends here, and the new process forgets it."""
        conn = await self.later()
        self.upgrade.stop()
        self.assertEqual(1, len(conn.resumed))
        await self.until(Aborted)
        self.assertIsNone(await self.heard())
        self.assertEqual(0, self.nothing_left)

    async def test_orders(self) -> None:
        """The new process may order to open the logs again, and what drains."""
        [conn] = self.open()
        conn.tunnel = None
        await self.committed()
        self.say(Reopen())
        self.say(Drains((Drain("h:1", 2.0, "target"),)))
        self.say(Took(1))  # it does not follow: the channel ends
        await self.until(Aborted)
        self.assertEqual(["reopen", "follow 1"], self.listening.calls[-2:])

    async def test_stop_too(self) -> None:
        """The new process stops: a tunnel on its way resumes here, and this process is to end, once."""
        conn = await self.later()
        with capturedLogs() as logs:
            self.say(Stop())
            self.say(Stop())
            self.theirs.close()
            while not self.nothing_left:
                await in_thread(int)
        self.assertEqual(1, len(conn.resumed))
        [line] = map(formatEvent, logs)
        self.assertEqual(f"process {PID} stops, and so does this one; 1 connection left here", line)
        self.live.remove(conn)
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertEqual(1, self.nothing_left)

    async def test_stop_at_once(self) -> None:
        """It may say so right behind the commit."""
        [conn] = self.open()
        conn.tunnel = None
        await self.ready()
        await self.until(Commit)
        self.say(Committed())
        self.say(Stop())
        while not self.nothing_left:
            await in_thread(int)
        self.assertEqual(1, len(self.in_charge))

    async def test_orders_early(self) -> None:
        """Orders before the commit are errors."""
        await self.ready()
        await self.until(Commit)
        self.say(Reopen())
        await self.failed("unexpected message: Reopen")

    async def test_bequeath(self) -> None:
        """The new process gets the channel to an older one."""
        await self.committed()
        older, other = socket.socketpair()
        self.addCleanup(other.close)
        self.upgrade.bequeath(Inherited(1, 7, 2, None), older)
        self.assertEqual((Inherited(1, 7, 2, None), 1), await in_thread(self.next))
        self.assertEqual(-1, older.fileno())

    def test_bequeath_early(self) -> None:
        """Without a channel it is closed."""
        older, other = socket.socketpair()
        self.addCleanup(other.close)
        self.upgrade.bequeath(Inherited(1, 7, 2, None), older)
        self.assertEqual(-1, older.fileno())
