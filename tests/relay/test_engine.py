"""Tests for sniproxy.relay.engine with a scripted native module; test_enginecontract has those with the real one."""

from __future__ import annotations

import errno
import gc
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay import engine
from sniproxy.relay.engine import (
    BATCH,
    ENDED,
    GIVEN_BACK,
    IDLE,
    OK,
    RESET,
    UNWATCHED,
    EngineRelay,
    EngineUnavailable,
    RelayEngine,
)
from sniproxy.relay.relay import Ending
from sniproxy.relay.state import BOTH, CLIENT, NOBODY, TARGET, TunnelState
from sniproxy.relay.vanished import PROBES, USER_TIMEOUT_MS
from tests.support.fakeengine import FakeEngine, use_fake
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, read_to_end


@attrs.frozen
class Times:
    """The time limits of a tunnel."""

    idle: float = 300.0
    half_closed: float = 60.0


class Owner:
    """Who opened a tunnel."""

    tunnel: EngineRelay

    def __init__(self, times: Times = Times()) -> None:
        self.timeouts = times
        self.done: Deferred[Ending] = Deferred()

    def finish(self, ending: Ending) -> None:
        self.done.callback(ending)


def _note(order: list[int], number: int, ending: Ending) -> None:
    order.append(number)


class EngineCase(SocketTestCase):
    """An engine with a scripted native module."""

    fake: FakeEngine

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.fake = use_fake(self)
        self.closer = LingeringCloser(reactor)
        self.engine = RelayEngine(reactor, self.closer, 2)
        self.addCleanup(self.closer.settled)
        self.addCleanup(self.engine.close)

    def open(self, head: bytes = b"", times: Times = Times()) -> tuple[EngineRelay, Owner]:
        (self.client, ours), (self.target, theirs) = connected(), connected()
        for sock in (self.client, self.target):
            self.addCleanup(sock.close)
        owner = Owner(times)
        relay = self.engine.open(ours, theirs, head, owner)
        assert relay is not None
        return relay, owner

    def finish(self, kind: int, *told: Any, **more: Any) -> None:
        self.fake.finish(self.fake.opened[-1], kind, *told, **more)


class EndingTests(EngineCase):
    """How a tunnel ended, in the words of the relay in Python."""

    async def ending(self, kind: int, *told: Any, times: Times = Times(), **more: Any) -> Ending:
        _, owner = self.open(times=times)
        self.finish(kind, *told, **more)
        return await owner.done

    async def test_words(self) -> None:
        """Each kind has its result and its reason."""
        none = {"back": (False, False)}
        for told, more, expected in (
            ((OK, 0, NOBODY), none, Ending(Result.OK)),
            ((OK, 0, CLIENT), none, Ending(Result.OK, "the client ended first")),
            ((OK, 0, TARGET), none, Ending(Result.OK, "the target ended first")),
            ((RESET, errno.ECONNRESET, CLIENT), none, Ending(Result.RESET, "the client's connection was reset")),
            ((RESET, errno.EPIPE, TARGET), none, Ending(Result.RESET, "the target's connection was reset")),
            (
                (RESET, errno.ETIMEDOUT, TARGET),
                {"back": (True, False)},
                Ending(Result.RESET, "the target's connection was lost: Connection timed out"),
            ),
            ((IDLE, 0, NOBODY), {}, Ending(Result.IDLE_TIMEOUT, "no bytes for 300 s")),
            (
                (IDLE, 0, CLIENT),
                {},
                Ending(Result.IDLE_TIMEOUT, "no bytes for 60 s after the client closed its side"),
            ),
            (
                (IDLE, 0, TARGET),
                {"times": Times(idle=7.5)},
                Ending(Result.IDLE_TIMEOUT, "no bytes for 7.5 s after the target closed its side"),
            ),
            (
                (IDLE, 0, TARGET),
                {"times": Times(idle=0.0, half_closed=10.0)},
                Ending(Result.IDLE_TIMEOUT, "no bytes for 10 s after the target closed its side"),
            ),
            (
                (UNWATCHED, errno.ENOSPC, NOBODY),
                {},
                Ending(Result.LIMIT, "cannot watch its sockets: No space left on device"),
            ),
        ):
            self.assertEqual(expected, await self.ending(*told, **more))
            self.client.close()
            self.target.close()

    async def test_sockets_come_back(self) -> None:
        """Sockets that come back are closed in order: their peers get a FIN, and unread bytes cause no reset."""
        _, owner = self.open()
        self.client.sendall(b"unread")
        self.finish(IDLE)
        self.assertEqual(b"", await in_thread(read_to_end, self.client))
        self.assertEqual(b"", await in_thread(read_to_end, self.target))
        await owner.done

    async def test_asked(self) -> None:
        """An end that was asked for has the first asker's ending, unless the tunnel has ended by itself."""
        for kind, expected in ((ENDED, Ending(Result.DRAINED, "first")), (OK, Ending(Result.OK))):
            relay, owner = self.open()
            relay.end(Ending(Result.DRAINED, "first"))
            relay.end(Ending(Result.SHUTDOWN, "second"))
            self.assertEqual(["end"], self.fake.opened[-1].asked)
            self.assertFalse(owner.done.called)
            self.finish(kind)
            self.assertEqual(expected, await owner.done)
            relay.end(Ending(Result.SHUTDOWN, "late"))
            self.assertEqual(["end"], self.fake.opened[-1].asked)
            self.client.close()
            self.target.close()

    async def test_given_back(self) -> None:
        """A tunnel that is given back goes to who asked, with both sockets; its owner is not called."""
        relay, owner = self.open()
        taken: Deferred[TunnelState] = Deferred()
        relay.give_back(taken.callback)
        self.assertEqual(["give_back"], self.fake.opened[-1].asked)
        self.finish(GIVEN_BACK, 0, CLIENT, held=(b"up", b"down"))
        back = await taken
        self.assertEqual((b"up", b"down", CLIENT), (back.held_up, back.held_down, back.ended))
        self.assertEqual(0.0, back.client.gettimeout())
        back.client.send(b"to the client")
        back.target.send(b"to the target")
        back.client.close()
        back.target.close()
        self.assertEqual(b"to the client", await in_thread(read_to_end, self.client))
        self.assertEqual(b"to the target", await in_thread(read_to_end, self.target))
        self.assertFalse(owner.done.called)
        relay.give_back(taken.callback)
        self.assertEqual(["give_back"], self.fake.opened[-1].asked)

    async def test_resumed(self) -> None:
        """A state that another relay gave goes to the engine as it is; that of a tunnel given back has all of it."""
        (self.client, ours), (self.target, theirs) = connected(), connected()
        for sock in (self.client, self.target):
            self.addCleanup(sock.close)
        numbers = ours.fileno(), theirs.fileno()
        owner = Owner(Times(9.0, 3.0))
        relay = self.engine.resume(TunnelState(ours, theirs, b"u", b"d", CLIENT, CLIENT, 5, 6, b"17", 2.5), owner)
        assert relay is not None
        self.assertEqual((-1, -1), (ours.fileno(), theirs.fileno()))
        tunnel = self.fake.opened[0]
        self.assertEqual((0, *numbers, 9.0, 3.0), (
            tunnel.key, tunnel.client, tunnel.target, tunnel.idle, tunnel.half_closed_s,
        ))  # fmt: skip
        self.assertEqual((b"u", b"d", CLIENT, CLIENT, 5, 6, b"17", 2.5), tunnel.state)
        taken: Deferred[TunnelState] = Deferred()
        self.assertTrue(relay.movable)
        relay.give_back(taken.callback)
        self.assertFalse(relay.movable)
        self.finish(GIVEN_BACK, 0, BOTH, held=(b"x", b"y"), first=TARGET, quiet=7.5, answer=b"17")
        state = await taken
        self.assertEqual((b"x", b"y", BOTH, TARGET, 5, 6, b"17", 7.5), attrs.astuple(state, recurse=False)[2:])
        self.assertEqual((True, False), (relay.half_closed, relay.movable))
        state.client.close()
        state.target.close()

    async def test_resume_refused(self) -> None:
        """If the engine has failed, the sockets of the state are still the caller's."""
        self.fake.full = OSError(errno.ESHUTDOWN, "no thread")
        (far, ours), (other, theirs) = connected(), connected()
        self.assertIsNone(self.engine.resume(TunnelState(ours, theirs), Owner()))
        for sock in (far, ours, other, theirs):
            self.assertGreater(sock.fileno(), 0)
            sock.close()

    async def test_ended_before_it_was_given_back(self) -> None:
        """A tunnel that ends before it is given back ends as usual."""
        relay, owner = self.open()
        relay.give_back(lambda back: self.fail("given back"))
        self.finish(OK, 0, BOTH, back=(False, False))
        self.assertEqual(Result.OK, (await owner.done).result)


class EngineTests(EngineCase):
    """The engine of a proxy."""

    async def test_start(self) -> None:
        """The native engine gets its threads, and the limits of the watch over vanished peers."""
        self.assertEqual((2, USER_TIMEOUT_MS, PROBES), self.fake.arguments)
        self.assertEqual((2, 0), (self.engine.threads, self.engine.tunnels))
        self.fake.held, self.fake.pipes = 5, 3
        self.assertEqual((5, 3), (self.engine.held, self.engine.pipes))

    async def test_opened(self) -> None:
        """The engine gets the descriptors, which the sockets have no longer, the head and the time limits."""
        (far, ours), (other, theirs) = connected(), connected()
        numbers = ours.fileno(), theirs.fileno()
        relay = self.engine.open(ours, theirs, b"head", Owner(Times(9.0, 3.0)))
        assert relay is not None
        self.assertEqual((-1, -1), (ours.fileno(), theirs.fileno()))
        tunnel = self.fake.opened[0]
        self.assertEqual((*numbers, b"head", 9.0, 3.0), (
            tunnel.client, tunnel.target, tunnel.held, tunnel.idle, tunnel.half_closed_s,
        ))  # fmt: skip
        far.close()
        other.close()
        tunnel.bytes_down, tunnel.half_closed, tunnel.blocked = 7, True, 2
        self.assertEqual((4, 7, True, 2), (relay.bytes_up, relay.bytes_down, relay.half_closed, relay.blocked))

    async def test_counts_remain(self) -> None:
        """The counts of bytes can be read after the end, as the ending has them."""
        relay, owner = self.open(b"head")
        self.fake.opened[0].bytes_down = 9
        self.finish(IDLE)
        await owner.done
        del self.fake.opened[0].bytes_up
        self.assertEqual((4, 9, False, 0), (relay.bytes_up, relay.bytes_down, relay.half_closed, relay.blocked))

    async def test_no_cycle(self) -> None:
        """A tunnel that has ended does not keep its owner, which has the tunnel: both go without the collector."""
        relay, owner = self.open()
        owner.tunnel = relay
        gone = ref(owner)
        done = owner.done
        self.fake.finish(self.fake.opened[0], IDLE)
        del relay, owner
        gc.disable()
        self.addCleanup(gc.enable)
        await done
        await in_thread(int)  # the call that has ended it has returned
        self.assertIsNone(gone())

    async def test_keys(self) -> None:
        """A key is used again only after its tunnel has ended."""
        first, second = self.open(), self.open()
        self.fake.finish(self.fake.opened[0], IDLE)
        self.open()
        self.assertEqual([0, 1, 2], [tunnel.key for tunnel in self.fake.opened])
        await first[1].done
        self.open()
        self.assertEqual([0, 1, 2, 0], [tunnel.key for tunnel in self.fake.opened])
        self.assertEqual(3, self.engine.tunnels)
        self.fake.finish(self.fake.opened[3], IDLE)
        self.assertFalse(second[1].done.called)

    async def test_refused(self) -> None:
        """If the engine does not take the descriptors, the sockets are still the caller's; the log has one line."""
        self.open()
        self.finish(IDLE)
        (far, ours), (other, theirs) = connected(), connected()
        self.fake.full = OSError(errno.ESHUTDOWN, "no thread")
        with capturedLogs() as logged:
            for _ in range(2):
                self.assertIsNone(self.engine.open(ours, theirs, b"", Owner()))
        expected = "relay engine failed: no thread; new tunnels use Python, restart to cure it"
        self.assertEqual([expected], [formatEvent(event) for event in logged])
        for sock in (far, ours, other, theirs):
            self.assertGreater(sock.fileno(), 0)
            sock.close()
        self.fake.full = None
        self.open()
        self.assertEqual([0, 1], [tunnel.key for tunnel in self.fake.opened])

    async def test_batches(self) -> None:
        """Many endings are handled in several rounds of the reactor, each once."""
        order: list[int] = []
        owners = []
        for number in range(BATCH + 1):
            (far, ours), (other, theirs) = connected(), connected()
            owner = Owner()
            owner.done.addCallback(partial(_note, order, number))
            owners.append(owner)
            self.engine.open(ours, theirs, b"", owner)
            far.close()
            other.close()
        for tunnel in self.fake.opened:
            self.fake.finish(tunnel, OK, back=(False, False))
        self.engine.doRead()
        self.assertEqual(BATCH, len(order))
        self.engine.doRead()
        self.assertEqual(BATCH, len(order))
        await owners[-1].done
        self.assertEqual(list(range(BATCH + 1)), order)

    async def test_error_of_an_owner(self) -> None:
        """An exception of one owner is logged, and the next tunnel ends."""
        _, owner = self.open()
        owner.done.callback(Ending(Result.OK))  # so that finish raises
        bad = self.fake.opened[-1]
        _, other = self.open()
        self.fake.finish(bad, IDLE)
        self.finish(IDLE)
        self.assertEqual(Result.IDLE_TIMEOUT, (await other.done).result)
        self.assertEqual(1, len(self.flushLoggedErrors()))

    async def test_close(self) -> None:
        """A close ends the tunnels: those that have ended already as they did, the others as they were asked to."""
        _, first = self.open()
        self.finish(IDLE)
        relay, second = self.open()
        relay.end(Ending(Result.DRAINED, "asked"))
        _, third = self.open()
        self.engine.close()
        self.engine.close()
        self.assertEqual(1, self.fake.closed)
        self.assertEqual(Result.IDLE_TIMEOUT, (await first.done).result)
        self.assertEqual(Ending(Result.DRAINED, "asked"), await second.done)
        self.assertEqual(Ending(Result.SHUTDOWN, "the relay engine has stopped"), await third.done)
        self.assertEqual(0, self.engine.tunnels)

    async def test_stopped_reactor(self) -> None:
        """A reactor that stops closes the engine."""
        self.engine.connectionLost(None)  # type: ignore[arg-type]
        self.assertEqual((1, "relay engine"), (self.fake.closed, self.engine.logPrefix()))


class LoadTests(SocketTestCase):
    """Without the native module."""

    async def test_not_installed(self) -> None:
        """The message says what to install or to build."""
        self.patch(engine, "MODULE", "sniproxy.relay.no_such_module")
        error = self.assertRaises(EngineUnavailable, engine.load)
        self.assertIn("this installation has no engine; install a wheel", str(error))
        self.assertIn("make engine", str(error))

    async def test_broken(self) -> None:
        """A module that does not fit the system is named with the loader's words."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "sniproxy_broken_engine.py").write_text("raise ImportError('GLIBC_9 not found')")
        self.patch(sys, "path", [str(folder), *sys.path])
        self.patch(engine, "MODULE", "sniproxy_broken_engine")
        error = self.assertRaises(EngineUnavailable, engine.load)
        self.assertEqual("the engine cannot be loaded: GLIBC_9 not found", str(error))

    async def test_no_thread(self) -> None:
        """An engine that cannot start says why."""
        fake = use_fake(self)
        fake.refusal = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        error = self.assertRaises(EngineUnavailable, RelayEngine, reactor, LingeringCloser(reactor), 1)
        self.assertEqual("the engine cannot start: Too many open files", str(error))

    async def test_small(self) -> None:
        """What Python keeps for a tunnel is one object without a dictionary."""
        relay = EngineRelay(None, Owner())  # type: ignore[arg-type]
        self.assertFalse(hasattr(relay, "__dict__"))
        self.assertLessEqual(sys.getsizeof(relay), 48)
        gc.collect()
