"""What every connection's life has, whatever it is: a record, deadlines, a relay, and one place where it ends.

Every stage answers or raises; one place turns what was raised into a result, a TLS alert or a plain close, and the
record that the access log shows.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.config.schema import Timeouts
from sniproxy.connection.admission import Permit
from sniproxy.events import Connection, Observer, Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.relay.direction import DirectionFactory
from sniproxy.relay.leaving import ClientWatch
from sniproxy.relay.relay import Ending, Relay
from sniproxy.routing.randoms import LiveRandoms
from sniproxy.routing.router import Routing
from sniproxy.routing.upstreams import UpstreamTable
from sniproxy.tls.alerts import Alert, fatal_alert
from sniproxy.util.buffered import Share

if TYPE_CHECKING:
    from sniproxy.relay.kernel.factory import KernelRelayFactory
    from sniproxy.relay.kernel.relay import KernelRelay

log = Logger()

T = TypeVar("T")

_MEANWHILE = {
    "resolve": "while its target was resolved",
    "connect": "while its target was dialled",
    "handshake": "during the TLS handshake with its target",
}


@attrs.frozen
class ConnectionContext:
    """What conversations share. @ivar way: how relays move bytes. @ivar observer: told of each ended connection.

    @ivar standing: how targets stand; the same in all houses.
    @ivar forwarding: tunnels that go the house's way may be the kernel's. None: they may not.
    @ivar randoms: by which loops through other proxies are found; the same in all houses.
    """

    reactor: Any
    routing: Routing
    timeouts: Timeouts
    dialer: Dialer
    closer: LingeringCloser
    way: DirectionFactory
    observer: Observer
    standing: UpstreamTable = attrs.field(factory=UpstreamTable)
    forwarding: KernelRelayFactory | None = None
    randoms: LiveRandoms = attrs.field(factory=LiveRandoms)


class Life:
    """One client connection, from accept to the end; what happens in between is for subclasses to say.

    @ivar record: what is known of it so far. @ivar ended: it is over.
    @ivar target: whom it dials, or has. None: nobody yet, or no more.
    @ivar guest: what it counts as for the limits. None: it counts for none.
    @ivar sockets: a tunnel's: the client's and the target's. Empty: it is no tunnel yet.
    """

    def __init__(self, house: ConnectionContext, sock: socket.socket, record: Connection) -> None:
        self.record = record
        self.ended = False
        self.target: Target | None = None
        self.guest: Permit | None = None
        self.sockets: tuple[socket.socket, ...] = ()
        self._received = Share()
        self._last_words = b""
        self._waits_for = "hello"
        self._house = house
        self._sock: socket.socket | None = sock
        self._started = house.reactor.seconds()
        self._legacy_version = 0x0303
        self._may_half_close = False
        self._relay: Relay | KernelRelay | None = None
        self._life: Deferred[None] | None = None  # before it is a tunnel
        self._when_over: Callable[[Any], None] | None = None
        self._ending: Ending | None = None

    async def _pass(self) -> Ending | None:
        """All of it up to the tunnel's end.

        @return: how it ended. None: the tunnel will say (L{_tunnel}): nothing waits in a frame as long as it lives.
        @raise Refusal: there is no tunnel. Sockets are closed by whoever has them, the client's by L{Life}.
        """
        raise NotImplementedError

    def begin(self, ended: Callable[[Self], None]) -> None:
        """Live. @param ended: called when it is over."""
        self._when_over = ended
        life = self._live()
        try:
            waits_for = life.send(None)
        except StopIteration:  # as mostly: nothing had to be waited for, and so nothing is made that could
            return
        self._life = Deferred.fromCoroutine(_rest(life, waits_for))

    def end(self, ending: Ending) -> None:
        """End it from outside, in order, in whatever stage it is."""
        self._ending = ending
        if self._relay is not None:
            self._relay.end(ending)
        elif self._life is not None:
            self._life.cancel()

    @property
    def state(self) -> str:
        """It waits for: ``hello``, ``resolve``, ``connect``, ``handshake``; a tunnel: ``open``, ``half_closed``."""
        if self._relay is None:
            return self._waits_for
        return "half_closed" if self._relay.half_closed else "open"

    @property
    def bytes_up(self) -> int:
        """Bytes written to the target by now."""
        return 0 if self._relay is None else self._relay.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client by now."""
        return 0 if self._relay is None else self._relay.bytes_down

    @property
    def tunnelling(self) -> bool:
        """Whether it has become a tunnel."""
        return self._relay is not None

    async def _live(self) -> None:
        try:
            ending = await self._pass()
        except Exception:
            self._over(Failure())
            return
        self._life = None
        if ending is not None:
            self._over(ending)

    def _over(self, ending: Ending | Failure) -> None:
        record = self.record
        if isinstance(ending, Failure):
            ending = self._ending_of(ending)
        record.result, record.reason = ending.result, ending.reason
        try:
            try:
                self._finish()
            finally:
                if self._when_over is not None:
                    self._when_over(self)
        except Exception:
            log.failure("The end of connection {id} failed", id=record.id)

    def _ending_of(self, failure: Failure) -> Ending:
        error = failure.value
        if isinstance(error, Refusal):
            self.record.alert = error.alert
            return Ending(error.result, str(error))
        if isinstance(error, CancelledError):
            return self._ending or Ending(Result.SHUTDOWN, "cancelled")
        log.failure("Connection {id} failed: a fault of the proxy", failure, id=self.record.id)
        return Ending(Result.INTERNAL_ERROR, "a fault of the proxy: see its log")

    @coroutine
    def _while_present(self, step: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run a step towards the tunnel. If the client leaves while the step waits, the step is cancelled.

        A step that does not wait costs no system call.
        """
        try:
            waits_for = step.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        assert self._sock is not None
        leaving = ClientWatch(self._house.reactor, self._sock, self._may_half_close, self._left)
        try:
            return (yield from _resumed(step, waits_for))
        finally:
            leaving.stop()

    def _left(self, why: str) -> None:
        self.end(Ending(Result.CLIENT_GONE, f"{why} {_MEANWHILE[self._waits_for]}"))

    def _unless_ended(self) -> None:
        """A resolver may have swallowed the cancellation that was meant for us."""
        if self._ending is not None:
            raise CancelledError

    def _hello_came(self, received: int) -> None:
        """The client has said whole what it has to say first. @param received: bytes, which wait for the tunnel."""
        self._received.holds(received)
        self.record.hello_s = self._elapsed()
        if self.guest is not None:
            self.guest.heard()

    async def _dial(self, targets: Sequence[Target]) -> socket.socket:
        house, record = self._house, self.record

        def trying(target: Target) -> None:
            record.target = str(target)
            if self.target is not None:
                self._leave()
            self.target = target
            house.standing.add_connection(target)

        def failed(target: Target, why: str) -> None:
            if house.standing.record_failure(target, why, house.reactor.seconds()):
                seconds = house.standing.health.eject
                log.warn(
                    "target {target}: avoided for {seconds:g} s: {why}", target=str(target), seconds=seconds, why=why
                )

        usable = house.standing.usable(record.route, targets)
        if targets and not usable:
            # It will be undone: a plain close, after which all clients try again.
            raise Refusal(Result.CONNECT_FAILED, f"drained: {', '.join(map(str, targets))}")

        began = house.reactor.seconds()
        self._waits_for = "connect"
        try:
            # What the resolver left of the time that the client has patience for.
            left = house.timeouts.connect - (record.resolve_s or 0.0)
            client = None if self.guest is None else self.guest.client
            upstream = await self._while_present(house.dialer.dial(usable, left, trying, failed, client))
            if self.target is not None:
                house.standing.record_success(self.target)
            return upstream
        except DialError as error:
            alert = Alert.ACCESS_DENIED if error.result is Result.DENIED else None
            raise Refusal(error.result, str(error), alert) from error
        finally:
            record.connect_s = house.reactor.seconds() - began

    def _tunnel(self, upstream: socket.socket, received: bytes, way: DirectionFactory) -> None:
        """Move bytes; at the tunnel's end it is all over."""
        self._relay_for(upstream, received, way).start(self._over)

    def _relay_for(self, upstream: socket.socket, received: bytes, way: DirectionFactory) -> Relay | KernelRelay:
        """What moves the bytes, not started yet; it has both sockets."""
        house, client = self._house, self._sock
        assert client is not None
        idle, half_closed = house.timeouts.idle, house.timeouts.half_closed
        relay: Relay | KernelRelay | None = None
        if house.forwarding is not None and way is house.way:
            relay = house.forwarding.relay(
                client, upstream, received, closer=house.closer, idle=idle, half_closed=half_closed
            )
        if relay is None:
            relay = Relay(
                house.reactor,
                client,
                upstream,
                received,
                directions=way,
                closer=house.closer,
                idle=idle,
                half_closed=half_closed,
            )
        self._relay = relay
        self.sockets = (client, upstream)
        if self.guest is not None:
            self.guest.tunnels()
        self._sock = None  # the relay's now
        self._received.holds(0)
        return relay

    def _finish(self) -> None:
        """Tell the observer, then the client."""
        record = self.record
        self.ended = True
        if self._received.bytes:
            self._received.holds(0)
        self._leave()
        relay = self._relay
        if relay is not None:
            record.bytes_up, record.bytes_down = relay.bytes_up, relay.bytes_down
        record.total_s = self._elapsed()
        try:
            self._house.observer(record)
        except Exception:
            log.failure("An observer failed on connection {id}", id=record.id)
        if self._sock is not None:
            if record.alert is not None:
                self._last_words = fatal_alert(record.alert, self._legacy_version)
            self._house.closer(self._sock, self._last_words)

    def _leave(self) -> None:
        if self.target is not None:
            self._house.standing.remove_connection(self.target)
            self.target = None

    def _elapsed(self) -> float:
        seconds: float = self._house.reactor.seconds() - self._started
        return seconds


@coroutine
def _rest(begun: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was begun by hand. @param waits_for: what it awaits."""
    yield from _resumed(begun, waits_for)


def _resumed(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The steps of L{_rest}. @return: the coroutine's result."""
    try:
        while True:
            try:
                came = yield waits_for
            except Exception as error:
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(came)
    except StopIteration as done:
        value: T = done.value
        return value
