"""Names, addresses and the order in which they are dialled."""

from __future__ import annotations

import socket

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from sniproxy.events import Result
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, interleave
from sniproxy.net.getaddrinfo import Cause, LookupFailed
from sniproxy.net.opensockets import MAX_SOCKETS
from sniproxy.net.overlapping import ATTEMPT_DELAY_S
from tests.support.dialing import DialerCase
from tests.support.reactor import as_reactor
from tests.support.sockets import HandClock, in_thread


class AddressTests(DialerCase):
    """Several addresses and targets, and how long each may take."""

    async def test_names(self) -> None:
        """The addresses of a name are tried; a name without addresses is an error."""
        clock, up = HandClock(), self.server()
        self.names(one=["127.0.0.1", "127.0.0.1"])
        with await self.dial(self.dialer(clock), Target("one", up.port)) as sock:
            self.assertEqual(("127.0.0.1", up.port), sock.getpeername())
        error = await self.failure(self.dial(self.dialer(clock), Target("none", 6651)))
        self.assertEqual("none:6651: the name has no address", str(error))
        self.assertEqual([], clock.getDelayedCalls())

    async def test_localhost(self) -> None:
        """Names are looked up with the real resolver."""
        up = self.server()
        with await self.dial(self.dialer(), Target("localhost", up.port)) as sock:
            self.assertEqual(up.port, sock.getpeername()[1])

    async def test_name_that_is_not_resolved(self) -> None:
        """A lookup that times out fails the dial, and its late answer has no effect."""
        clock = HandClock()
        dialer = self.dialer(clock)
        late: Deferred[list[str]] = Deferred()
        self.patch(dialer.lookups, "addresses", lambda host: late)
        dialling = self.dial(dialer, Target("hangs", 6651), seconds=2.0)
        clock.advance(2)
        error = await self.failure(dialling)
        self.assertEqual(Result.CONNECT_TIMEOUT, error.result)
        self.assertIn("name lookup timed out after 2 s", str(error))
        self.assertTrue(late.called)  # cancelled
        late.callback(["127.0.0.1"])

    async def test_cause_of_a_failed_lookup(self) -> None:
        """The reason says why a name has no addresses; silent name servers are a timeout."""
        for cause, result in ((Cause.NO_NAME, Result.CONNECT_FAILED), (Cause.NO_ANSWER, Result.CONNECT_TIMEOUT)):
            clock = HandClock()
            dialer = self.dialer(clock)
            error = LookupFailed(cause, "because of this")
            self.patch(dialer.lookups, "addresses", lambda host, error=error: fail(error))
            failure = await self.failure(self.dial(dialer, Target("a.test", 6651)))
            self.assertEqual((result, "a.test:6651: because of this"), (failure.result, str(failure)))
            self.assertEqual([], clock.getDelayedCalls())

    async def test_client_formed(self) -> None:
        """The lookup of a name that a client formed is charged to the client."""
        up, dialer = self.server(), self.dialer()
        asked: list[tuple[str, str | None]] = []

        def formed(host: str, client: str | None) -> Deferred[list[str]]:
            asked.append((host, client))
            return succeed(["127.0.0.1"])

        self.patch(dialer.lookups, "formed", formed)
        target = Target("a.test", up.port, client_formed=True)
        with await Deferred.fromCoroutine(dialer.dial([target], 9.0, lambda target: None, client="192.0.2.7")):
            self.assertEqual([("a.test", "192.0.2.7")], asked)

    async def test_addresses_of_a_target(self) -> None:
        """A target's own addresses are dialled by happy eyeballs, if the veto allows it; nothing is looked up."""
        clock, silent = HandClock(), self.server(backlog=0)
        silent.fill()
        up = socket.socket(socket.AF_INET6)
        self.addCleanup(up.close)
        up.bind(("::1", silent.port))
        up.listen(1)
        dialer = self.dialer(clock, **{"127_0_0_2": "no"})
        self.patch(dialer.lookups, "addresses", None)
        target = Target("a.test", silent.port, addresses=("127.0.0.2", "127.0.0.1", "::1"))
        dialling = self.dial(dialer, target)
        clock.advance(ATTEMPT_DELAY_S)
        with await dialling as sock:
            self.assertEqual("::1", sock.getpeername()[0])
        self.assertEqual([], clock.getDelayedCalls())
        down = Target("a.test", self.server().close().port, addresses=("127.0.0.2", "127.0.0.1"))
        error = await self.failure(self.dial(dialer, down))
        self.assertEqual(f"a.test:{down.port}: 127.0.0.2: no; 127.0.0.1: Connection refused", str(error))

    async def test_many_silent_addresses(self) -> None:
        """A target with 60 silent addresses holds a bounded number of sockets; all are tried, for a second at least."""
        clock, silent = HandClock(), self.server(host="0.0.0.0", backlog=0)
        silent.fill()
        held, most, began = 0, 0, dict[str, float]()

        def holds(change: int) -> None:
            nonlocal held, most
            held += change
            most = max(most, held)

        def veto(target: Target, host: str | None) -> str | None:
            if host is not None:
                began[host] = clock.seconds()
            return None

        addresses = [f"127.0.0.{number}" for number in range(1, 61)]
        dialer = Dialer(as_reactor(clock), veto, LingeringCloser(as_reactor(clock)), holds)
        for seconds in (10.0, 4.0):
            began.clear()
            dialling = self.dial(dialer, Target("a.test", silent.port, addresses=tuple(addresses)), seconds=seconds)
            while not dialling.called:
                clock.advance(0.01)
            error = await self.failure(dialling)
            self.assertEqual(Result.CONNECT_TIMEOUT, error.result)
            self.assertEqual(addresses, list(began))
            self.assertEqual((True, 0), (most < MAX_SOCKETS, held))
        self.assertEqual(MAX_SOCKETS - 1, most)

    async def test_one_address_of_a_target(self) -> None:
        """A target's only address is dialled, if the veto allows it."""
        up = self.server()
        target = Target("a.test", up.port, addresses=("127.0.0.1",))
        with await self.dial(self.dialer(), target) as sock:
            self.assertEqual(up.port, sock.getpeername()[1])
        error = await self.failure(self.dial(self.dialer(**{"127_0_0_1": "no"}), target))
        self.assertEqual((Result.DENIED, f"a.test:{up.port}: 127.0.0.1: no"), (error.result, str(error)))

    async def test_many_targets(self) -> None:
        """If time is short, attempts overlap; the connected target is the last that is reported as tried."""
        clock = HandClock()
        silent = [self.server(backlog=0) for _ in range(3)]
        targets = [server.fill() for server in silent]
        dialling = self.dial(self.dialer(clock), *targets, seconds=1.5)
        self.assertEqual([str(targets[0])], self.tried)
        clock.advance(0.25)
        clock.advance(0.25)
        self.assertEqual([str(target) for target in targets], self.tried)
        dialling.cancel()
        await self.assertFailure(dialling, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_earlier_target_connects(self) -> None:
        """A target that connects after others were tried is the one that the caller hears of last."""
        clock, up = HandClock(), self.server()
        dialer = self.dialer(clock)
        late: Deferred[list[str]] = Deferred()
        self.patch(dialer.lookups, "addresses", lambda host: late)
        slow, silent = Target("slow.test", up.port), self.server(backlog=0).fill()
        dialling = self.dial(dialer, slow, silent, seconds=1.5)
        clock.advance(0.5)
        self.assertEqual([str(slow), str(silent)], self.tried)
        late.callback(["127.0.0.1"])
        with await dialling as sock:
            self.assertEqual(up.port, sock.getpeername()[1])
        self.assertEqual([str(slow), str(silent), str(slow)], self.tried)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_happy_eyeballs(self) -> None:
        """If an address is slow, the next one is tried in parallel, and the first to answer is used."""
        clock = HandClock()
        silent, up = self.server(backlog=0), self.server(host="::1")
        silent.fill()
        self.names(two=["127.0.0.1", "::1"])
        up_on_same_port = socket.socket(socket.AF_INET6)
        up_on_same_port.bind(("::1", silent.port))
        up_on_same_port.listen(1)
        up.close()
        dialling = self.dial(self.dialer(clock), Target("two", silent.port))
        while len(clock.getDelayedCalls()) < 2:  # the name is looked up in a thread
            await in_thread(int)
        clock.advance(ATTEMPT_DELAY_S - 0.01)
        self.assertFalse(dialling.called)
        clock.advance(0.01)
        with await dialling as sock, up_on_same_port:
            self.assertEqual("::1", sock.getpeername()[0])
        self.assertEqual([], clock.getDelayedCalls())

    async def test_every_address_fails(self) -> None:
        """If all addresses fail, the error has each; a failed attempt starts the next one at once."""
        clock, port = HandClock(), self.server().close().port
        self.names(two=["127.0.0.1", "127.0.0.2"])
        error = await self.failure(self.dial(self.dialer(clock), Target("two", port)))
        why = "127.0.0.1: Connection refused; 127.0.0.2: Connection refused"
        self.assertEqual(f"two:{port}: {why}", str(error))

    async def test_many_addresses(self) -> None:
        """A name may have hundreds of addresses that fail at once."""
        port = self.server().close().port
        self.names(many=[f"127.0.{number // 250}.{number % 250 + 1}" for number in range(1000)])
        error = await self.failure(self.dial(self.dialer(), Target("many", port)))
        self.assertEqual(Result.CONNECT_FAILED, error.result)

    async def test_last_address_fails(self) -> None:
        """When the last address fails, the ones before it may still answer, until the time is up."""
        clock, silent = HandClock(), self.server(backlog=0)
        silent.fill()
        target = Target("two", silent.port, addresses=("127.0.0.1", "127.0.0.2"))
        dialling = self.dial(self.dialer(clock), target)
        clock.advance(ATTEMPT_DELAY_S)
        self.assertFalse(dialling.called)
        clock.advance(10.0)
        error = await self.failure(dialling)
        self.assertEqual((Result.CONNECT_TIMEOUT, f"{target}: no answer within 10 s"), (error.result, str(error)))

    def test_interleave(self) -> None:
        """IPv6 and IPv4 addresses alternate, starting with the family of the first; each family keeps its order."""
        self.assertEqual(
            ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"], interleave(["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"])
        )
        self.assertEqual(["10.0.0.1", "::1", "::2"], interleave(["10.0.0.1", "::1", "::2"]))
