"""Tests for sniproxy.server.upgrade.old: until the end of the upgrade."""

from __future__ import annotations

import os
import socket

from twisted.internet import reactor
from twisted.logger import capturedLogs, formatEvent

from sniproxy import __version__
from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.messages import (
    Aborted,
    Commit,
    Committed,
    Declined,
    Drain,
    FaultState,
    Offer,
    Offered,
    Refused,
    Remaining,
    Socket,
    Took,
    Tunnel,
)
from sniproxy.server.upgrade.old import (
    ANSWER_TIMEOUT_S,
    CHECK_INTERVAL_S,
    EXIT_TIMEOUT_S,
    START_TIMEOUT_S,
)
from sniproxy.server.upgrade.program import CannotStart, Successor
from tests.support.oldprocess import PID, OldCase
from tests.support.sockets import in_thread


class StartTests(OldCase):
    """From the begin until the new process is ready."""

    async def test_offer(self) -> None:
        """The new process gets the listening sockets, and knows what they are."""
        self.open(3)
        self.upgrade.begin(self.start)
        found = [await in_thread(self.next) for _ in range(4)]
        offer = Offer(messages.VERSIONS, __version__, os.getpid(), 3)
        self.assertEqual([(offer, 0), (Socket(0, "tcp:1"), 1), (Socket(1, "unix:a", True), 1), (Offered(), 0)], found)

    async def test_cannot_start(self) -> None:
        """The system starts no program."""

        def start() -> tuple[Successor, socket.socket]:
            raise CannotStart("cannot start python: no memory")

        report = await self.upgrade.begin(start)
        self.assertEqual(UpgradeReport("cannot start python: no memory", None, 0, 0, 0.0), report)

    async def test_refused(self) -> None:
        """The new process says why it cannot start."""
        await self.begin()
        self.say(Refused("x.toml: bad"))
        await self.failed("x.toml: bad")

    async def test_ended(self) -> None:
        """It has ended: its exit status is awaited, and what it wrote is logged."""
        await self.begin()
        self.theirs.close()
        while self.upgrade._state == "start":
            await in_thread(int)
        self.clock.advance(CHECK_INTERVAL_S)
        self.assertFalse(self.done.called)
        self.program.ended = True
        with capturedLogs() as logs:
            self.clock.advance(CHECK_INTERVAL_S)
        report = await self.done
        self.assertEqual("the new process did not start: status 9: no module", report.why)
        said = [formatEvent(event) for event in logs]
        self.assertIn("new process: no module", said)
        self.assertIn(
            "upgrade failed: the new process did not start: status 9: no module; 0 connections left", said[-1]
        )

    async def test_closed(self) -> None:
        """It has closed the channel and does not end."""
        await self.begin()
        self.theirs.close()
        while self.upgrade._state == "start":
            await in_thread(int)
        self.clock.pump([CHECK_INTERVAL_S] * int(EXIT_TIMEOUT_S / CHECK_INTERVAL_S + 1))
        self.assertTrue(self.done.called)
        self.assertIn("kill", self.program.calls)

    async def test_late(self) -> None:
        """It is not ready in time."""
        await self.begin()
        self.clock.pump([CHECK_INTERVAL_S] * int(START_TIMEOUT_S / CHECK_INTERVAL_S - 1))
        self.assertFalse(self.done.called)
        self.clock.advance(CHECK_INTERVAL_S)
        await self.failed(f"the new process was not ready in {START_TIMEOUT_S:g} s")

    async def test_unexpected(self) -> None:
        """It says what does not follow."""
        await self.begin()
        self.say(Took(1))
        await self.failed("unexpected message: Took")

    async def test_stop(self) -> None:
        """The proxy stops meanwhile."""
        await self.begin()
        self.upgrade.stop()
        await self.failed("the proxy is stopping")
        self.upgrade.stop()


class MoveTests(OldCase):
    """Tunnels move, then the commit."""

    async def test_no_tunnels(self) -> None:
        """The commit follows at once. The sockets that the new process has taken are closed here only."""
        await self.ready()
        faults = (FaultState({"action": "cut"}, 3, 2, True),)
        self.assertEqual(Commit((Drain("h:1", 2.0),), faults), await self.until(Commit))
        self.assertEqual(["hold"], self.listening.calls)
        self.say(Committed())
        report = await self.done
        self.assertEqual((None, PID, 0, 0), (report.why, report.pid, report.moved, report.stayed))
        self.assertEqual((["hold", "hand over"], {self.listening.first}), (self.listening.calls, self.listening.taken))
        self.assertEqual(([PID], ["close"], PID), (self.in_charge, self.program.calls, self.program.pid))

    async def test_tunnels(self) -> None:
        """Each tunnel is moved before the commit; those that cannot move stay."""
        moves, stays = self.open(2)
        assert stays.tunnel is not None
        stays.tunnel.movable = False
        await self.ready()
        await self.asked(moves)
        moves.give()
        self.live.remove(moves)
        self.say(Took((await self.until(Tunnel)).number))
        await self.until(Commit)
        self.say(Committed())
        report = await self.done
        self.assertEqual((None, 1, 1, 1), (report.why, report.moved, report.stayed, moves.left))
        self.assertEqual(Remaining(1, None), await self.until(Remaining))

    async def test_slow_relay(self) -> None:
        """The new process need not answer while a relay has not given its tunnel back."""
        [conn] = self.open()
        await self.ready()
        await self.asked(conn)
        self.clock.pump([CHECK_INTERVAL_S] * int(2 * ANSWER_TIMEOUT_S / CHECK_INTERVAL_S))
        self.assertFalse(self.done.called)

    async def test_declined(self) -> None:
        """The new process is in charge, but it could not take all tunnels: that is a failure."""
        conn = await self.moving()
        self.say(Declined(1, "limit of open files"))
        await self.until(Commit)
        self.say(Committed())
        report = await self.done
        self.assertEqual("the new process could not take all tunnels: limit of open files", report.why)
        self.assertEqual(([PID], 1), (self.in_charge, len(conn.resumed)))

    async def test_no_answer(self) -> None:
        """It does not answer: the tunnel continues here."""
        conn = await self.moving()
        self.clock.pump([CHECK_INTERVAL_S] * int(ANSWER_TIMEOUT_S / CHECK_INTERVAL_S + 1))
        self.assertEqual(1, len(conn.resumed))
        await self.failed(f"the new process did not answer for {ANSWER_TIMEOUT_S:g} s")

    async def test_last_answers(self) -> None:
        """An answer that has arrived before the failure counts."""
        conn = await self.moving()
        self.say(Took(1))
        self.upgrade.stop()
        self.assertEqual(([], 1), (conn.resumed, conn.left))
        # It has tunnels now, so it is not killed.
        await self.failed("the proxy is stopping", killed=False)

    async def test_late_answer(self) -> None:
        """An answer that has arrived in time counts, if this process was stopped for long and reads it late."""
        conn = await self.moving()
        self.say(Took(1))
        self.clock.advance(ANSWER_TIMEOUT_S)
        self.assertEqual(([], 1), (conn.resumed, conn.left))
        await self.until(Commit)

    async def test_ended(self) -> None:
        """It ends: the tunnel that it has not taken continues here."""
        conn = await self.moving()
        self.theirs.close()
        report = await self.done
        self.assertEqual("the new process has failed: the other process has ended", report.why)
        self.assertEqual((1, "release"), (len(conn.resumed), self.listening.calls[-1]))

    async def test_worker_ended(self) -> None:
        """A supervisor says why its first worker has ended in the middle, even if that has said that it accepts."""
        conn = await self.moving()
        self.say(Refused("worker 0: killed"))
        await self.failed("worker 0: killed")
        self.assertEqual(1, len(conn.resumed))

    async def test_worker_committed(self) -> None:
        """The same behind the answer to the commit: this process accepts again."""
        await self.ready()
        await self.until(Commit)
        self.say(Committed())
        self.say(Refused("worker 0: killed"))
        await self.failed("worker 0: killed")
        self.assertEqual(["hold", "release"], self.listening.calls)

    async def test_no_commit(self) -> None:
        """It does not answer the commit: this process accepts again."""
        await self.ready()
        await self.until(Commit)
        self.clock.pump([CHECK_INTERVAL_S] * int(ANSWER_TIMEOUT_S / CHECK_INTERVAL_S + 1))
        self.assertEqual(["hold", "release"], self.listening.calls)
        await self.failed(f"the new process did not answer for {ANSWER_TIMEOUT_S:g} s")

    async def test_late_commit(self) -> None:
        """This process was stopped for long, and the answer to the commit waits for it: the new one is in charge."""
        await self.ready()
        await self.until(Commit)
        reactor.removeReader(self.upgrade._channel)  # type: ignore[arg-type]
        self.say(Committed())
        self.clock.advance(ANSWER_TIMEOUT_S + 1)
        self.assertIsNone((await self.done).why)
        self.assertEqual(([PID], ["hold", "hand over"]), (self.in_charge, self.listening.calls))

    async def test_commit_and_stop(self) -> None:
        """The proxy stops when the new process is in charge already: that one has the listeners."""
        await self.ready()
        await self.until(Commit)
        self.say(Committed())
        self.upgrade.stop()
        self.assertIsNone((await self.done).why)
        self.assertEqual(([PID], ["hold", "hand over"]), (self.in_charge, self.listening.calls))
        await self.until(Aborted)

    async def test_hanging(self) -> None:
        """A process that hangs reads at last that the old one continues, however much was sent before."""
        [conn] = self.open()
        await self.ready()
        await self.asked(conn)
        conn.give(bytes(1 << 20))
        self.clock.pump([CHECK_INTERVAL_S] * int(ANSWER_TIMEOUT_S / CHECK_INTERVAL_S + 1))
        await self.failed(f"the new process did not answer for {ANSWER_TIMEOUT_S:g} s")

    async def test_stop(self) -> None:
        """The proxy stops: the tunnel ends here, with all others."""
        conn = await self.moving()
        self.upgrade.stop()
        self.assertEqual(1, len(conn.resumed))
        await self.failed("the proxy is stopping")
