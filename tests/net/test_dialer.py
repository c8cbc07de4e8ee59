"""Dialling targets."""

from __future__ import annotations

import errno
import socket
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from sniproxy.events import Result
from sniproxy.interfaces import Target
from sniproxy.net import connect, lookup, opensockets
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError, interleave
from sniproxy.net.getaddrinfo import Cause, LookupFailed
from sniproxy.net.opensockets import MAX_SOCKETS
from sniproxy.net.overlapping import ATTEMPT_DELAY_S
from sniproxy.net.transparent import CannotBind
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import HandClock, SocketTestCase, in_thread


class Server:
    """A loopback port that listens; closed, it refuses; full, it never answers."""

    def __init__(self, host: str = "127.0.0.1", backlog: int = 8) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(backlog)
        self.target = Target(*self.sock.getsockname()[:2])
        self.port = self.target.port
        self.others: list[socket.socket] = []

    def fill(self) -> Target:
        """Fill the backlog, so that Linux drops further SYNs."""
        for _ in range(4):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", self.port))
            self.others.append(other)
        return self.target

    def close(self) -> Target:
        for sock in (self.sock, *self.others):
            sock.close()
        return self.target


class DialerTests(SocketTestCase):
    """The connected socket, or the reason for a failure."""

    def dialer(self, clock: Any = reactor, **denied: str) -> Dialer:
        return Dialer(
            clock, lambda target, host: denied.get((host or target.host).replace(".", "_")), LingeringCloser(clock)
        )

    def dial(self, dialer: Dialer, *targets: Target, seconds: float = 10.0) -> Deferred[socket.socket]:
        self.tried: list[str] = []
        return Deferred.fromCoroutine(dialer.dial(targets, seconds, lambda target: self.tried.append(str(target))))

    async def failure(self, dialling: Deferred[socket.socket]) -> DialError:
        """The error of the dial."""
        return cast(DialError, await self.assertFailure(dialling, DialError))

    def names(self, **names: list[str]) -> None:
        """Set what getaddrinfo returns."""
        self.patch(
            socket,
            "getaddrinfo",
            lambda host, port, **more: [(None, None, None, "", (address, port)) for address in names.get(host, [])],
        )

    def server(self, **options: Any) -> Server:
        server = Server(**options)
        self.addCleanup(server.close)
        return server

    async def test_first_target(self) -> None:
        """The first target that connects is used; its socket does not block, and sends without delay."""
        server, other = self.server(), self.server()
        with await self.dial(self.dialer(), server.target, other.target) as sock:
            self.assertEqual(server.port, sock.getpeername()[1])
            self.assertFalse(sock.getblocking())
            self.assertEqual(1, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertEqual([str(server.target)], self.tried)

    async def test_next_when_refused(self) -> None:
        """If a target refuses, the next one is dialled."""
        down, up = self.server().close(), self.server()
        with await self.dial(self.dialer(), down, up.target) as sock:
            self.assertEqual(up.port, sock.getpeername()[1])
        self.assertEqual([str(down), str(up.target)], self.tried)

    async def test_all_refused(self) -> None:
        """The error has each target with its reason."""
        a, b = self.server().close(), self.server().close()
        error = await self.failure(self.dial(self.dialer(), a, b))
        self.assertEqual(Result.CONNECT_FAILED, error.result)
        self.assertEqual(f"{a}: Connection refused; {b}: Connection refused", str(error))

    async def test_share_of_the_time(self) -> None:
        """A silent target uses its share of the timeout; then the next one is dialled."""
        clock = HandClock()
        silent, up = self.server(backlog=0).fill(), self.server()
        dialling = self.dial(self.dialer(clock), silent, up.target, seconds=10.0)
        clock.advance(4.9)
        self.assertFalse(dialling.called)
        clock.advance(0.1)
        with await dialling as sock:
            self.assertEqual(up.port, sock.getpeername()[1])
        self.assertEqual([], clock.getDelayedCalls())

    async def test_timeout(self) -> None:
        """A timeout is a result of its own."""
        clock = HandClock()
        dialling = self.dial(self.dialer(clock), self.server(backlog=0).fill(), seconds=3.0)
        clock.advance(3)
        error = await self.failure(dialling)
        self.assertEqual(Result.CONNECT_TIMEOUT, error.result)
        self.assertIn("no answer within 3 s", str(error))

    async def test_denied(self) -> None:
        """A denied address is not dialled; the next target is."""
        down, up = self.server(), self.server()
        error = await self.failure(self.dial(self.dialer(**{"127_0_0_1": "no"}), down.target))
        self.assertEqual((Result.DENIED, f"{down.target}: no"), (error.result, str(error)))
        self.names(two=["192.0.2.7", "127.0.0.1"])
        dialer = self.dialer(**{"192_0_2_7": "no"})
        with await self.dial(dialer, Target("two", up.port)) as sock:
            self.assertEqual(up.port, sock.getpeername()[1])

    async def test_denied_target(self) -> None:
        """A denied target is not looked up, and leaves no state."""
        clock = HandClock()
        looked_up: list[str] = []
        dialer = Dialer(
            as_reactor(clock),
            lambda target, host: f"not {target.host}" if host is None else None,
            LingeringCloser(as_reactor(clock)),
        )
        self.patch(dialer.lookups, "addresses", looked_up.append)
        error = await self.failure(self.dial(dialer, Target("one", 6651)))
        self.assertEqual((Result.DENIED, "one:6651: not one"), (error.result, str(error)))
        self.assertEqual(([], []), (looked_up, clock.getDelayedCalls()))

    async def test_asked_about_each_address(self) -> None:
        """The veto is called with the target, then with each address before its connect; the reason names it."""
        asked: list[tuple[Target, str | None]] = []

        def veto(target: Target, host: str | None) -> str | None:
            asked.append((target, host))
            return host and "no"

        target = Target("two", 6651, client_formed=True)
        self.names(two=["127.0.0.1", "::1"])
        error = await self.failure(self.dial(Dialer(reactor, veto, LingeringCloser(reactor)), target))
        self.assertEqual([(target, None), (target, "127.0.0.1"), (target, "::1")], asked)
        self.assertEqual("two:6651: 127.0.0.1: no; ::1: no", str(error))

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

    async def test_veto_that_cannot_say(self) -> None:
        """If the veto fails for an address, it is not dialled, and the failure is temporary."""

        def veto(target: Target, host: str | None) -> str | None:
            if host is None:
                return None
            raise OSError(errno.EMFILE, "Too many open files")

        error = await self.failure(
            self.dial(Dialer(reactor, veto, LingeringCloser(reactor)), Target("127.0.0.1", 6651))
        )
        self.assertEqual((Result.CONNECT_FAILED, "127.0.0.1:6651: Too many open files"), (error.result, str(error)))

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

    async def test_out_of_descriptors(self) -> None:
        """Without a free descriptor the dial fails."""

        def none_left(*args: object) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        target = self.server().target
        self.patch(socket, "socket", none_left)
        error = await self.failure(self.dial(self.dialer(), target))
        self.assertEqual(f"{target}: Too many open files", str(error))

    async def test_fault_of_no_target(self) -> None:
        """A missing descriptor, or a full lookup queue, does not count as a failure of the target."""
        counted: list[str] = []

        async def dial(target: Target) -> None:
            counting = self.dialer().dial(
                [target], 10.0, lambda _: None, lambda target, _: counted.append(str(target)), "192.0.2.1"
            )
            await self.failure(Deferred.fromCoroutine(counting))

        def none_left(*args: object) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        down = self.server().close()
        await dial(down)
        self.assertEqual([str(down)], counted)
        self.patch(lookup, "MAX_QUEUED", 0)
        await dial(Target("a.test", 6651, client_formed=True))
        self.patch(socket, "socket", none_left)
        await dial(down)
        self.assertEqual([str(down)], counted)

    async def test_time_is_up(self) -> None:
        """Targets that were not tried in time are counted in the reason."""
        clock, silent = HandClock(), self.server(host="0.0.0.0", backlog=0)
        silent.fill()
        targets = [Target(f"127.0.0.{number}", silent.port) for number in range(1, 11)]
        dialling = self.dial(self.dialer(clock), *targets, seconds=0.28)
        while not dialling.called:
            clock.advance(0.01)
        error = await self.failure(dialling)
        self.assertEqual(Result.CONNECT_TIMEOUT, error.result)
        self.assertEqual([str(target) for target in targets[:6]], self.tried)
        self.assertTrue(str(error).endswith("; timed out before 4 of 10 targets were tried"), error)

    async def test_fails_later(self) -> None:
        """When an address fails after a while, the next one is dialled without the rest of the delay."""
        clock, silent = HandClock(), self.server(backlog=0)
        silent.fill()
        dialling = self.dial(self.dialer(clock), Target("two", silent.port, addresses=("127.0.0.1", "::1")))
        self.assertFalse(dialling.called)
        with socket.socket(socket.AF_INET6) as up:
            up.bind(("::1", silent.port))
            up.listen(1)
            silent.close()  # the system sends its SYN again, which is refused now
            with await dialling as sock:
                self.assertEqual("::1", sock.getpeername()[0])
        self.assertEqual([], clock.getDelayedCalls())

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

    async def test_no_room_for_a_socket(self) -> None:
        """With all sockets in use, the next address waits until the oldest one had a second to answer."""
        clock, silent = HandClock(), self.server(host="0.0.0.0", backlog=0)
        silent.fill()
        self.patch(opensockets, "MAX_SOCKETS", 2)
        began: list[float] = []

        def veto(target: Target, host: str | None) -> str | None:
            if host is not None:
                began.append(clock.seconds())
            return None

        dialer = Dialer(as_reactor(clock), veto, LingeringCloser(as_reactor(clock)))
        addresses = tuple(f"127.0.0.{number}" for number in range(1, 5))
        dialling = self.dial(dialer, Target("a.test", silent.port, addresses=addresses))
        for _ in range(6):
            clock.advance(ATTEMPT_DELAY_S)
        self.assertEqual([0.0, 0.25, 1.0, 1.25], began)
        dialling.cancel()
        await self.assertFailure(dialling, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_refused_at_once(self) -> None:
        """A connect that the system refuses by itself fails with its reason."""
        error = await self.failure(self.dial(self.dialer(), Target("255.255.255.255", 1)))
        self.assertEqual(Result.CONNECT_FAILED, error.result)
        self.assertEqual("255.255.255.255:1: Network is unreachable", str(error))

    def from_client(self, dialer: Dialer, *targets: Target, source: str = "127.0.0.9") -> Deferred[socket.socket]:
        """Dial from a client's address."""
        self.ejected: list[str] = []
        dialling = dialer.dial(
            targets, 10.0, lambda target: None, lambda target, why: self.ejected.append(why), source=source
        )
        return Deferred.fromCoroutine(dialling)

    async def test_from_client(self) -> None:
        """Each socket gets the client's address: of a target that is an address, of the next one, and of a name."""
        self.patch(connect, "bind_to_client", lambda sock, source: sock.bind((source, 0)))
        down, up = self.server().close(), self.server()
        self.names(one=["::1", "127.0.0.1"])
        for targets in ([up.target], [down, up.target], [Target("one", up.port)]):
            with await self.from_client(self.dialer(), *targets) as sock:
                self.assertEqual(("127.0.0.9", up.port), (sock.getsockname()[0], sock.getpeername()[1]))

    async def test_other_family(self) -> None:
        """Addresses of the other family are denied with a reason, and the target is not at fault."""
        why = "not dialled from the client 192.0.2.7: it has no IPv6 address"
        self.names(one=["::1", "::2"])
        for target, reason in (
            (Target("::1", 1), f"[::1]:1: {why}"),
            (Target("one", 1), f"one:1: ::1: {why}; ::2: {why}"),
        ):
            error = await self.failure(self.from_client(self.dialer(), target, source="192.0.2.7"))
            self.assertEqual((Result.DENIED, reason, []), (error.result, str(error), self.ejected))

    async def test_veto_from_client(self) -> None:
        """The veto is asked as for any other target."""
        error = await self.failure(self.from_client(self.dialer(**{"127_0_0_1": "no"}), Target("127.0.0.1", 1)))
        self.assertEqual((Result.DENIED, "127.0.0.1:1: no"), (error.result, str(error)))

    async def test_cannot_bind(self) -> None:
        """If the socket cannot get the client's address, the reason says so, and the target is not at fault."""

        def fail(sock: socket.socket, source: str) -> None:
            raise CannotBind(errno.EPERM, f"cannot dial from the client {source}: no right")

        self.patch(connect, "bind_to_client", fail)
        error = await self.failure(self.from_client(self.dialer(), Target("127.0.0.1", 1)))
        self.assertEqual("127.0.0.1:1: cannot dial from the client 127.0.0.9: no right", str(error))
        self.assertEqual((Result.CONNECT_FAILED, []), (error.result, self.ejected))

    async def test_cancel(self) -> None:
        """A cancelled dial leaves no state."""
        clock = HandClock()
        dialling = self.dial(self.dialer(clock), self.server(backlog=0).fill())
        dialling.cancel()
        await self.assertFailure(dialling, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_no_target(self) -> None:
        """A dial without targets fails."""
        error = await self.failure(self.dial(self.dialer()))
        self.assertEqual(Result.CONNECT_FAILED, error.result)

    def test_interleave(self) -> None:
        """IPv6 and IPv4 addresses alternate, starting with the family of the first; each family keeps its order."""
        self.assertEqual(
            ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"], interleave(["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"])
        )
        self.assertEqual(["10.0.0.1", "::1", "::2"], interleave(["10.0.0.1", "::1", "::2"]))
