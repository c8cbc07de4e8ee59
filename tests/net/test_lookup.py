"""Lookups of host names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from sniproxy.net import lookup
from sniproxy.net.getaddrinfo import Cause, LookupFailed
from sniproxy.net.lookup import HostLookups, lookups_of
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread

ADDRESSES = ["192.0.2.7"]


class LookupCase(SocketTestCase):
    """A system resolver whose answers a test controls."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.asked: list[str] = []
        self.silent: Callable[[str], bool] = lambda host: False
        self.error: int | None = None
        self.answer = threading.Event()
        self.addCleanup(self.answer.set)
        self.patch(socket, "getaddrinfo", self.getaddrinfo)
        self.clock = HandClock()
        self.lookups = HostLookups(as_reactor(self.clock))

    def getaddrinfo(self, host: str, port: int, **more: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        if self.silent(host):
            self.answer.wait(TIMEOUT_S)
        if self.error is not None:
            raise socket.gaierror(self.error, "it failed")
        return [(None, None, None, "", (address, port)) for address in ADDRESSES * 2]

    async def failure(self, looking: Deferred[list[str]]) -> LookupFailed:
        return cast(LookupFailed, await self.assertFailure(looking, LookupFailed))

    async def asked_for(self, host: str) -> None:
        """Wait until a thread looks the name up."""
        while host not in self.asked:
            await in_thread(int)

    async def nothing_runs(self) -> None:
        """Wait until all threads end."""
        self.answer.set()
        while any(self.lookups.counts().running.values()):
            await in_thread(int)


class LookupTests(LookupCase):
    """The system's resolver, in threads."""

    async def test_localhost(self) -> None:
        """The system resolves localhost."""
        self.patch(socket, "getaddrinfo", lambda host, port, **more: [(2, 1, 6, "", ("127.0.0.1", 0))])
        self.assertIn("127.0.0.1", await HostLookups(reactor).addresses("localhost"))

    async def test_failure(self) -> None:
        """Each caller gets the reason, which is counted."""
        self.error = socket.EAI_NONAME
        both = [self.lookups.addresses("unknown.invalid") for _ in range(2)]
        for looking in both:
            self.assertIs(Cause.NO_NAME, (await self.failure(looking)).cause)
        self.assertEqual({"no_name": 1}, self.lookups.counts().results)

    async def test_shared(self) -> None:
        """Concurrent lookups of a name share one answer; a slow name does not delay others."""
        self.silent = lambda host: host == "silent"
        self.patch(lookup, "MAX_THREADS", 2)
        silent = [self.lookups.addresses("silent") for _ in range(50)]
        for host in ("a", "b", "c"):
            self.assertEqual(ADDRESSES, await self.lookups.addresses(host))
        silent.pop().addErrback(lambda _: None).cancel()
        self.answer.set()
        self.assertEqual([ADDRESSES] * 49, await gatherResults(silent))
        self.assertEqual(1, self.asked.count("silent"))
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_nobody_waits(self) -> None:
        """A queued name whose callers are all cancelled is skipped, and the next name is looked up."""
        self.silent = lambda host: True
        self.patch(lookup, "MAX_THREADS", 1)
        silent = self.lookups.addresses("silent")
        given_up = [self.lookups.addresses(host) for host in ("a", "b", "b", "c")]
        for waiting in [*given_up[:2], given_up[3]]:
            waiting.addErrback(lambda _: None).cancel()
        self.assertEqual({"written": 1, "client_formed": 0}, self.lookups.counts().waiting)
        self.answer.set()
        self.assertEqual([ADDRESSES] * 2, await gatherResults([silent, given_up[2]]))
        self.assertEqual(ADDRESSES, await self.lookups.addresses("a"))
        self.assertEqual(["silent", "b", "a"], self.asked)

    async def test_no_thread(self) -> None:
        """If the system cannot start a thread, that is the reason."""

        def none_left(*args: object, **more: object) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", none_left)
        error = await self.failure(self.lookups.addresses("a"))
        self.assertEqual((Cause.NO_THREAD, 0), (error.cause, self.lookups.counts().running["written"]))

    async def test_overdue(self) -> None:
        """A slow lookup frees its place after a time, and its late answer is still used."""
        self.silent = lambda host: host == "silent"
        self.patch(lookup, "MAX_THREADS", 1)
        silent, waiting = self.lookups.addresses("silent"), self.lookups.addresses("a")
        self.clock.advance(lookup.OVERDUE_S)
        self.assertEqual(ADDRESSES, await waiting)
        self.assertFalse(silent.called)
        self.answer.set()
        self.assertEqual(ADDRESSES, await silent)
        self.assertEqual(ADDRESSES, await self.lookups.addresses("b"))

    def test_one_of_a_reactor(self) -> None:
        """All users of a reactor share the limits."""
        self.assertIs(lookups_of(self.clock), lookups_of(self.clock))
        self.assertIsNot(lookups_of(self.clock), lookups_of(HandClock()))


class StaleTests(LookupCase):
    """The last good answer of a written name."""

    async def test_slow(self) -> None:
        """If a new answer is slow, the last good one is used, and for a while at once."""
        await self.lookups.addresses("a")
        self.silent = lambda host: True
        looking = self.lookups.addresses("a")
        self.clock.advance(lookup.STALE_AFTER_S - 0.1)
        self.assertFalse(looking.called)
        self.clock.advance(0.1)
        self.assertEqual(ADDRESSES, self.successResultOf(looking))
        self.assertEqual(ADDRESSES, self.successResultOf(self.lookups.addresses("a")))
        self.assertEqual(2, self.lookups.counts().stale)
        await self.nothing_runs()
        self.assertFalse(self.lookups.addresses("a").called)  # name servers are quick again
        await self.nothing_runs()

    async def test_failed(self) -> None:
        """If a lookup fails temporarily, the last good answer is used."""
        await self.lookups.addresses("a")
        self.error = socket.EAI_AGAIN
        self.assertEqual(ADDRESSES, await self.lookups.addresses("a"))
        self.assertEqual(ADDRESSES, self.successResultOf(self.lookups.addresses("a")))
        await self.nothing_runs()
        await self.failure(self.lookups.addresses("other"))

    async def test_no_longer_there(self) -> None:
        """After a name server's negative answer, the last good answer is dropped."""
        await self.lookups.addresses("a")
        for error, cause in ((socket.EAI_NONAME, Cause.NO_NAME), (socket.EAI_AGAIN, Cause.SERVER_FAILED)):
            self.error = error
            self.assertIs(cause, (await self.failure(self.lookups.addresses("a"))).cause)

    async def test_too_old(self) -> None:
        """The last good answer expires."""
        await self.lookups.addresses("a")
        self.clock.advance(lookup.STALE_S)
        self.error = socket.EAI_AGAIN
        await self.failure(self.lookups.addresses("a"))

    async def test_bounded(self) -> None:
        """The number of kept answers is bounded."""
        self.patch(lookup, "MAX_KEPT", 1)
        self.lookups = HostLookups(as_reactor(self.clock))
        for host in ("a", "b"):
            await self.lookups.addresses(host)
        self.error = socket.EAI_AGAIN
        self.assertEqual(ADDRESSES, await self.lookups.addresses("b"))
        await self.failure(self.lookups.addresses("a"))

    async def test_cancelled(self) -> None:
        """A cancellation leaves no timer."""
        await self.lookups.addresses("a")
        self.silent = lambda host: True
        looking = self.lookups.addresses("a")
        looking.cancel()
        await self.assertFailure(looking, CancelledError)
        await self.nothing_runs()
        self.assertEqual([], self.clock.getDelayedCalls())


class FormedTests(LookupCase):
    """Names that clients form."""

    def ask(self, count: int, client: str | None, prefix: str = "n") -> list[Deferred[list[str]]]:
        asked = [self.lookups.formed(f"{prefix}{number}", client) for number in range(count)]
        for one in asked:
            one.addErrback(lambda failure: failure.value)
        return asked

    async def test_written_are_apart(self) -> None:
        """Any number of client-formed names does not delay a written name."""
        self.silent = lambda host: host != "written"
        for client in range(20):
            self.ask(20, f"192.0.2.{client}", f"c{client}-")
        self.assertEqual(ADDRESSES, await self.lookups.addresses("written"))
        self.assertEqual(lookup.MAX_THREADS, self.lookups.counts().running["client_formed"])
        await self.nothing_runs()

    async def test_each_client(self) -> None:
        """A client has a share of the threads, also for its abandoned lookups; other clients get theirs."""
        self.silent = lambda host: host.startswith("n")
        for one in self.ask(40, "192.0.2.1"):
            one.cancel()
        self.ask(100, "192.0.2.1")
        counts = self.lookups.counts()
        self.assertEqual(lookup.MAX_THREADS_PER_CLIENT, counts.running["client_formed"])
        self.assertEqual(lookup.MAX_QUEUED_PER_CLIENT, counts.waiting["client_formed"])
        self.assertEqual(
            100 - lookup.MAX_THREADS_PER_CLIENT - lookup.MAX_QUEUED_PER_CLIENT, counts.limited["per_client"]
        )
        self.assertEqual(ADDRESSES, await self.lookups.formed("a", "192.0.2.2"))
        # A name that waits for the first client's threads is looked up for the second one.
        waiting = self.lookups.formed("n30", "192.0.2.2")
        await self.nothing_runs()
        self.assertEqual(ADDRESSES, self.successResultOf(waiting))

    async def test_shares(self) -> None:
        """A few clients with slow lookups cannot use all threads."""
        self.silent = lambda host: host.startswith("n")
        for client in range(6):
            self.ask(20, f"192.0.2.{client}", f"n{client}-")
        self.assertEqual(ADDRESSES, await self.lookups.formed("a", "198.51.100.1"))
        for client in range(6, 11):
            self.ask(40, f"192.0.2.{client}", f"n{client}-")
        waiting = self.lookups.formed("b", "198.51.100.1")
        self.assertNoResult(waiting)  # it is not refused
        await self.nothing_runs()
        self.assertEqual(ADDRESSES, self.successResultOf(waiting))

    async def test_queue(self) -> None:
        """The queue of all clients is bounded, with a reason of its own."""
        self.silent = lambda host: True
        asked = self.ask(lookup.MAX_THREADS + lookup.MAX_QUEUED + 1, None)
        refused = cast(Any, self.successResultOf(asked[-1]))
        self.assertIs(Cause.LIMIT, refused.cause)
        self.assertEqual(1, self.lookups.counts().limited["queue"])
        await self.nothing_runs()

    async def test_time(self) -> None:
        """A client waits for a bounded time; then its queued lookups are dropped."""
        self.silent = lambda host: True
        asked = self.ask(20, "192.0.2.1")
        self.clock.advance(lookup.FORMED_TIMEOUT_S)
        self.assertEqual({Cause.NO_ANSWER}, {cast(Any, self.successResultOf(one)).cause for one in asked})
        counts = self.lookups.counts()
        self.assertEqual((20, 0), (counts.limited["time"], counts.waiting["client_formed"]))
        await self.nothing_runs()

    async def test_nothing_stays(self) -> None:
        """After a client's lookups have ended, neither the client nor the answer is kept."""
        self.assertEqual([ADDRESSES] * 3, await gatherResults(self.ask(3, "192.0.2.1")))
        self.assertEqual(({}, []), (self.lookups._by_client, self.clock.getDelayedCalls()))
        self.error = socket.EAI_AGAIN
        await self.failure(self.lookups.formed("n0", "192.0.2.1"))
