"""An upgrade as the old process sees it, with a fake program and fake listeners; the test is the new process."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import Any, cast

from twisted.internet.defer import Deferred

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.server.upgrade import messages, sender
from sniproxy.server.upgrade.channel import close_all, receive
from sniproxy.server.upgrade.listening import Listening
from sniproxy.server.upgrade.messages import (
    Aborted,
    Commit,
    Committed,
    Drain,
    FaultState,
    Held,
    Offered,
    Ready,
    Remaining,
    Tunnel,
)
from sniproxy.server.upgrade.old import (
    Upgrade,
)
from sniproxy.server.upgrade.program import Successor
from tests.support.reactor import as_reactor
from tests.support.sockets import HandClock, in_thread
from tests.support.upgrading import ChannelCase, FakeConnection

PID = 4242


class FakeProgram:
    """The new process. @ivar calls: of its methods."""

    def __init__(self) -> None:
        self.pid = PID - 1
        self.ended = False
        self.calls: list[str] = []

    def why(self) -> str:
        return "status 9: no module"

    def errors(self) -> list[str]:
        return ["Traceback", "no module"]

    def kill(self) -> None:
        self.calls.append("kill")

    def close(self) -> None:
        self.calls.append("close")


class FakeListening:
    """Two sockets. @ivar calls: of its methods."""

    def __init__(self) -> None:
        self.first, self.admin = socket.socket(), socket.socket()
        self.calls: list[str] = []
        self.taken: Collection[socket.socket] = ()

    def sockets(self) -> list[tuple[str, socket.socket, bool]]:
        return [("tcp:1", self.first, False), ("unix:a", self.admin, True)]

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")

    def hand_over(self, taken: Collection[socket.socket]) -> None:
        self.calls.append("hand over")
        self.taken = taken

    def follow(self, drains: Collection[Drain]) -> None:
        self.calls.append(f"follow {len(drains)}")

    def follow_rotation(self) -> None:
        self.calls.append("reopen")

    def drains(self) -> tuple[Drain, ...]:
        return (Drain("h:1", 2.0),)

    def faults(self) -> tuple[FaultState, ...]:
        return (FaultState({"action": "cut"}, 3, 2, True),)


class OldCase(ChannelCase):
    """An upgrade; the test is the new process.

    @ivar in_charge: process ids. @ivar nothing_left: number of calls. @ivar done: fires with the report.
    """

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.clock = HandClock()
        self.program, self.listening = FakeProgram(), FakeListening()
        for sock in (self.listening.first, self.listening.admin):
            self.addCleanup(sock.close)
        self.live: list[FakeConnection] = []
        self.in_charge: list[int] = []
        self.nothing_left = 0
        self.patch(sender, "resume_relay", lambda conn, state: conn.resume(state))
        self.upgrade = Upgrade(
            as_reactor(self.clock), cast(Listening, self.listening), cast("list[Lifecycle]", self.live),
            lambda record: None, self.in_charge.append, self.count,
        )  # fmt: skip
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))
        self.addCleanup(self.upgrade.stop)

    def count(self) -> None:
        self.nothing_left += 1

    def start(self) -> tuple[Successor, socket.socket]:
        return self.program, self.ours

    def open(self, count: int = 1) -> list[FakeConnection]:
        """More connections."""
        new = [FakeConnection() for _ in range(count)]
        for conn in new:
            self.addCleanup(conn.close)
        self.live += new
        return new

    async def begin(self) -> None:
        """Begin, and read the offer."""
        self.done: Deferred[UpgradeReport] = self.upgrade.begin(self.start)
        while (await in_thread(self.next))[0] != Offered():
            pass

    def next(self) -> tuple[messages.Message | None, int]:
        """The next message, and the number of its descriptors, which are closed."""
        message, descriptors = receive(self.theirs)
        close_all(descriptors)
        return message, len(descriptors)

    async def ready(self) -> None:
        """Begin, and say that the new process is ready."""
        await self.begin()
        self.say(Ready(2, PID, (0,)))

    async def until(self, kind: type[Any]) -> Any:
        """Read up to a message of this kind."""
        while not isinstance(message := (await in_thread(self.next))[0], kind):
            self.assertIsNotNone(message)
        return message

    async def asked(self, conn: FakeConnection) -> None:
        """Wait until the relay is to give a tunnel back."""
        while not conn.asked:
            await in_thread(int)

    async def moving(self) -> FakeConnection:
        """Begin, up to one tunnel that waits for an answer."""
        [conn] = self.open()
        await self.ready()
        await self.asked(conn)
        conn.give(b"held")
        self.assertIsInstance(await self.until(Tunnel), Tunnel)
        self.assertEqual(Held(b"held"), await self.heard())
        return conn

    async def committed(self) -> UpgradeReport:
        """Begin, up to the end of the upgrade, without tunnels that move."""
        await self.ready()
        await self.until(Commit)
        self.say(Committed())
        report = await self.done
        await self.until(Remaining)
        return report

    async def failed(self, why: str, killed: bool = True) -> None:
        """The upgrade has failed, and the new process knows it."""
        report = await self.done
        self.assertEqual(why, report.why)
        await self.until(Aborted)
        self.assertIsNone(await self.heard())
        self.assertEqual((["kill"] if killed else []) + ["close"], self.program.calls)
        self.assertEqual(([], "release"), (self.in_charge, self.listening.calls[-1]))
        self.assertEqual([], self.clock.getDelayedCalls())
