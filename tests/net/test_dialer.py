"""Dialling targets."""

from __future__ import annotations

import errno
import socket

from twisted.internet.defer import CancelledError, Deferred

from sniproxy.events import Result
from sniproxy.interfaces import Target
from sniproxy.net import connect, lookup, opensockets
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.overlapping import ATTEMPT_DELAY_S
from sniproxy.net.transparent import CannotBind
from tests.support.dialing import DialerCase
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import FullClock, HandClock, in_thread


class DialerTests(DialerCase):
    """The connected socket, or the reason for a failure."""

    async def test_no_room(self) -> None:
        """A connecting socket that the system cannot watch is closed. The target is not at fault."""
        clock, failed = FullClock(), list[Target]()
        target = self.server(backlog=0).fill()
        dialling = self.dialer(clock).dial([target], 9.0, lambda _: None, lambda target, _: failed.append(target))
        error = await self.failure(Deferred.fromCoroutine(dialling))
        self.assertEqual((Result.CONNECT_FAILED, []), (error.result, failed))
        self.assertEqual(f"{target}: cannot watch its socket: No space left on device", str(error))
        self.assertEqual([], clock.getDelayedCalls())

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

    async def test_kinds(self) -> None:
        """A failure says of what kind it is, to the caller as soon as a target fails."""
        refuses, silent = self.server().close(), self.server(backlog=0).fill()
        self.names(nowhere=[])
        clock, kinds = HandClock(), []
        targets = [refuses, Target("255.255.255.255", 1), Target("nowhere.test", 1), silent]

        def failed(target: Target, error: DialError) -> None:
            kinds.append((targets.index(target), error.kind))

        dialling = Deferred.fromCoroutine(self.dialer(clock).dial(targets, 10.0, lambda target: None, failed))
        self.assertEqual([(0, "refused"), (1, "unreachable")], kinds)
        while len(kinds) < 3:
            clock.advance(0)
            await in_thread(int)
        self.assertEqual((2, "failed"), kinds[2])
        clock.advance(20.0)
        await self.failure(dialling)
        self.assertEqual((3, "timeout"), kinds[3])

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
            targets, 10.0, lambda target: None, lambda target, error: self.ejected.append(str(error)), source=source
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
