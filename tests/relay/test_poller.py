"""What tells relays that their sockets are ready; the relay's contract runs over both, see test_relay and others."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sniproxy.relay import poller
from sniproxy.relay.poller import EdgePoller, ReactorPoller, edge_poller_of, poller_of
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, links, opened_since

ROOT = Path(__file__).parent.parent.parent


class Told:
    """Stands where a relay's side does."""

    def __init__(self, sock: socket.socket, fails: bool = False) -> None:
        self.fd = sock.fileno()
        self.sock = sock
        self.events = 0
        self.pumped = 0
        self.passes_on = False
        self.fails = fails
        self.lost: list[Failure] = []

    def ready(self, events: int) -> bool:
        self.events |= events
        if self.fails:
            raise KeyError("a fault")
        return self.passes_on

    def doRead(self) -> None:
        self.pumped += 1

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


class EdgePollerTests(SocketTestCase):
    """One epoll set in the reactor."""

    if not poller.available:
        skip = "this system has no epoll"

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.poller = EdgePoller(reactor)
        self.far, self.ours = connected()
        self.addCleanup(self.far.close)
        self.addCleanup(self.ours.close)

    def told(self, fails: bool = False) -> Told:
        told = Told(self.ours, fails)
        self.poller.watch(told)
        self.addCleanup(self.poller.unwatch, told)
        return told

    async def until(self, told: Told, events: int) -> None:
        while not told.events & events:
            await deferLater(reactor, 0)

    async def test_tells(self) -> None:
        """Bytes, room, the peer's end and a reset are reported."""
        told = self.told()
        self.far.send(b"x")
        await self.until(told, poller.IN)
        self.assertFalse(told.events & (poller.OUT | poller.ENDS))
        self.poller.want_room(told)
        await self.until(told, poller.OUT)
        self.far.shutdown(socket.SHUT_WR)
        await self.until(told, poller.ENDS)

    async def test_again(self) -> None:
        """A side that has not drained its socket gets further turns without an event, up to a limit."""
        told = self.told()
        self.poller.again(told)
        self.poller.doRead()
        self.assertEqual(1, told.pumped)
        told.doRead = lambda: self.poller.again(told)  # type: ignore[method-assign]
        self.poller.again(told)
        self.poller.doRead()
        self.assertEqual([told], list(self.poller._again))
        del told.doRead
        while told.pumped < 2:
            await deferLater(reactor, 0)

    async def test_only_messages(self) -> None:
        """Whether all that was done is messages passed on is known: others have something to do by all else."""
        told = self.told()
        message = [(told.fd, poller.IN)]
        self.assertFalse(self.poller._serve(message))
        told.passes_on = True
        self.assertTrue(self.poller._serve(message))
        self.assertFalse(self.poller._serve([*message, (-1, poller.IN)]))  # of an unknown descriptor
        self.poller.again(told)
        self.assertFalse(self.poller._serve(message))
        told.fails = True
        self.assertFalse(self.poller._serve(message))
        self.assertEqual([KeyError], [each.type for each in self.flushLoggedErrors()])

    async def test_turns_do_not_pile_up(self) -> None:
        """However often the set is looked at, one more look at most is put off to the reactor's next round."""
        told = self.told()
        told.doRead = lambda: self.poller.again(told)  # type: ignore[method-assign]
        before = len(reactor.getDelayedCalls())
        self.poller.again(told)
        for _ in range(3):
            self.poller.doRead()
        self.assertEqual(before + 1, len(reactor.getDelayedCalls()))
        del told.doRead
        while self.poller._again:
            await deferLater(reactor, 0)

    async def test_again_from_outside(self) -> None:
        """A side that calls again outside a round gets a turn, although the set has no event."""
        told = self.told()
        self.poller.again(told)
        while not told.pumped:
            await deferLater(reactor, 0)

    async def test_fault_at_the_end(self) -> None:
        """A fault even in how one is ended reaches neither the others nor the reactor."""
        told = self.told(fails=True)
        told.connectionLost = lambda reason: [][0]  # type: ignore[method-assign]
        far, ours = connected()
        other = Told(ours)
        self.poller.watch(other)
        far.send(b"x")
        self.far.send(b"x")
        self.poller.doRead()
        self.assertTrue(other.events & poller.IN)
        self.assertEqual([KeyError, IndexError], [each.type for each in self.flushLoggedErrors()])
        self.poller.unwatch(other)
        far.close()
        ours.close()

    async def test_unwatched(self) -> None:
        """A side that is no longer watched gets no events."""
        told = self.told()
        self.poller.again(told)
        self.poller.unwatch(told)
        self.far.send(b"x")
        self.poller.doRead()
        self.assertEqual((0, 0), (told.events, told.pumped))

    async def test_fault(self) -> None:
        """An exception in one side ends that side; the others get their events."""
        told = self.told(fails=True)
        far, ours = connected()
        other = Told(ours)
        self.poller.watch(other)
        far.send(b"x")
        self.far.send(b"x")
        await self.until(told, poller.IN)
        await self.until(other, poller.IN)
        self.assertEqual((1, 0), (len(told.lost), len(other.lost)))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        self.poller.unwatch(other)
        far.close()
        ours.close()

    async def test_descriptor(self) -> None:
        """The set is open while something is in it or somebody holds it."""
        before = links()
        told = self.told()
        self.assertNotEqual(before, links())
        self.poller.unwatch(told)
        self.assertEqual(opened_since(before), {})
        self.poller.keep_open()
        self.assertNotEqual(before, links())
        self.poller.allow_close()
        self.assertEqual(opened_since(before), {})

    async def test_reactor_ends(self) -> None:
        """When the reactor stops, all sides are notified."""
        told = self.told()
        self.poller.connectionLost(Failure(ConnectionError()))
        self.assertEqual(1, len(told.lost))

    async def test_one_set(self) -> None:
        """A reactor has one; a system without epoll makes do with the reactor."""
        self.assertIs(edge_poller_of(reactor), poller_of(reactor))
        self.patch(poller, "available", False)
        self.assertIsInstance(poller_of(reactor), ReactorPoller)

    async def test_other_reactors(self) -> None:
        """Relays live under select, poll and asyncio as well."""
        contract = "tests.relay.test_splice.SpliceTests"
        names = ("bytes_both_ways", "client_ends_first", "upstream_resets", "slow_reader_with_tiny_windows")
        for kind in ("select", "poll", "asyncio"):
            command = [sys.executable, "-m", "twisted.trial", f"--reactor={kind}"]
            command += [f"--temp-directory={Path(self.mktemp()).absolute()}"]
            command += [f"{contract}.test_{name}" for name in names]
            ran = await in_thread(lambda command: subprocess.run(command, cwd=ROOT, capture_output=True), command)
            self.assertEqual(0, ran.returncode, ran.stdout[-2000:] + ran.stderr[-2000:])
