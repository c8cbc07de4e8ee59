"""The lifecycle of a client connection: begin, end, and the record of how it ended.

A handler runs the stages of a connection. Each stage answers or raises. The lifecycle turns what a stage raised into a
result, a TLS alert or a plain close, and completes the record that the access log writes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.config.schema import Timeouts
from sniproxy.connection.admission import Permit
from sniproxy.connection.answer import full_reason
from sniproxy.events import Connection, Observer, Refusal, Result, short_seconds
from sniproxy.faults.active import ActiveFaults
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer
from sniproxy.relay.engine import RelayEngine
from sniproxy.relay.leaving import ClientWatch
from sniproxy.relay.protocols import Tunnel
from sniproxy.relay.relay import Ending
from sniproxy.routing.clientlist import check_client
from sniproxy.routing.randoms import LiveRandoms
from sniproxy.routing.router import LiveRoute, Routing
from sniproxy.routing.upstreams import UpstreamTable
from sniproxy.tls.alerts import fatal_alert
from sniproxy.util.buffered import BufferAccount, Share
from sniproxy.util.coroutines import resume
from sniproxy.util.reactor import IReactor

log = Logger()

T = TypeVar("T")

_TLS_1_2 = 0x0303

_DURING = {
    "resolve": "while its target was resolved",
    "connect": "while its target was dialled",
    "handshake": "during the TLS handshake with its target",
}


@attrs.frozen
class ConnectionContext:
    """What all connections of one configuration share.

    @ivar observer: called with the record of each ended connection.
    @ivar upstreams: connections and health of targets; the same object in all contexts.
    @ivar engine: the relay engine, for plain tunnels. None: the relay in Python for all.
    @ivar randoms: finds loops through other proxies; the same object in all contexts.
    @ivar account: counts buffered bytes; the same object in all contexts.
    @ivar faults: faults on purpose; the same object in all contexts. None: there are none.
    @ivar opened: called with each connection that becomes a tunnel. None: nothing is.
    """

    reactor: IReactor
    routing: Routing
    timeouts: Timeouts
    dialer: Dialer
    closer: LingeringCloser
    observer: Observer
    upstreams: UpstreamTable = attrs.field(factory=UpstreamTable)
    engine: RelayEngine | None = None
    randoms: LiveRandoms = attrs.field(factory=LiveRandoms)
    account: BufferAccount = attrs.field(factory=BufferAccount)
    opened: Callable[[Lifecycle], None] | None = None
    faults: ActiveFaults | None = None


class Lifecycle:
    """One client connection, from accept to the end of its tunnel.

    @ivar record: filled in by the stages; complete at the end.
    @ivar sock: the client's socket. None: the tunnel owns it.
    @ivar stage: what the connection waits for before it is a tunnel; see L{state}.
    @ivar may_half_close: a FIN of the client before the tunnel is open may be a half-close.
    @ivar legacy_version: of the hello, for the record of an alert.
    @ivar last_bytes: sent to the client before its socket is closed, unless the record has an alert.
    @ivar permit: what admission gave out. None: the connection counts for no limit.
    @ivar target: the target that is dialled or connected. None: no target yet, or the connection has ended.
    @ivar tunnel: moves the bytes. None: the connection is not a tunnel yet.
    """

    # It exists once for each idle tunnel, so it has no dictionary.
    __slots__ = (
        "_at_end", "_ending", "_received", "_stages", "_started", "_when_over", "context", "last_bytes",
        "legacy_version", "may_half_close", "permit", "record", "sock", "stage", "target", "tunnel",
    )  # fmt: skip

    def __init__(self, context: ConnectionContext, sock: socket.socket | None, record: Connection) -> None:
        """@param sock: None: it has a tunnel already, see L{adopt}."""
        self.context = context
        self.record = record
        self.sock = sock
        self.stage = "hello"
        self.may_half_close = False
        self.legacy_version = _TLS_1_2
        self.last_bytes = b""
        self.permit: Permit | None = None
        self.target: Target | None = None
        self.tunnel: Tunnel | None = None
        self._received: Share | None = Share(context.account)
        self._started = context.reactor.seconds()
        self._stages: Deferred[None] | None = None  # waits until the connection is a tunnel
        self._at_end: list[Callable[[], None]] | None = None
        self._when_over: Callable[[Lifecycle], None] | None = None  # not begun, or ended
        self._ending: Ending | None = None

    def begin(self, handler: Handler, when_over: Callable[[Lifecycle], None]) -> None:
        """Run the stages. @param when_over: called once, when the connection has ended."""
        self._when_over = when_over
        stages = handler(self)
        try:
            waits_for = stages.send(None)
        except StopIteration:  # the usual case: no stage had to wait, so no Deferred is made
            return
        except Exception:
            self._fail(Failure())
            return
        self._stages = Deferred.fromCoroutine(self._run(stages, waits_for))

    def adopt(self, target: Target, elapsed: float, when_over: Callable[[Lifecycle], None]) -> None:
        """The connection was a tunnel in another process, and becomes one here, by L{enter_tunnel}.

        @param elapsed: seconds since it was accepted. @param when_over: as for L{begin}.
        """
        self._when_over = when_over
        self._started -= elapsed
        self.target = target
        # The counts of bytes so far are in the record until the end.
        self.context.upstreams.adopt_connection(target, self.record.bytes_up, self.record.bytes_down)

    def leave(self) -> None:
        """The tunnel continues in another process, which writes its record."""
        when_over, self._when_over = self._when_over, None
        self.record.bytes_up, self.record.bytes_down = self.bytes_up, self.bytes_down
        self._call_last()
        self._leave_target()
        if when_over is not None:
            when_over(self)

    def end(self, ending: Ending) -> None:
        """End the connection from outside, in any stage."""
        self._ending = ending
        if self.tunnel is not None:
            self.tunnel.end(ending)
        elif self._stages is not None:
            self._stages.cancel()

    def end_if_asked(self) -> None:
        """End the tunnel if L{end} was called, perhaps while no relay had it."""
        if self._ending is not None:
            self.end(self._ending)

    def finish(self, ending: Ending) -> None:
        """Complete the record, call the observer, and close the client's socket if there was no tunnel."""
        self.record.result, self.record.reason = ending.result, ending.reason
        when_over, self._when_over = self._when_over, None
        try:
            try:
                self._finish()
            finally:
                if when_over is not None:
                    when_over(self)
        except Exception:
            log.failure("connection {id}: internal error at its end", id=self.record.id)

    def call_at_end(self, function: Callable[[], None]) -> None:
        """Call a function when the connection ends, before the observer."""
        if self._at_end is None:
            self._at_end = []
        self._at_end.append(function)

    @property
    def state(self) -> str:
        """Before the tunnel: ``hello``, ``resolve``, ``connect``, ``handshake``; then ``open`` or ``half_closed``."""
        if self.tunnel is None:
            return self.stage
        return "half_closed" if self.tunnel.half_closed else "open"

    @property
    def bytes_up(self) -> int:
        """Bytes written to the target so far."""
        return 0 if self.tunnel is None else self.tunnel.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client so far."""
        return 0 if self.tunnel is None else self.tunnel.bytes_down

    @property
    def tunnelling(self) -> bool:
        """Whether the connection is a tunnel."""
        return self.tunnel is not None

    # For the stages

    def receive_hello(self, received: int) -> None:
        """The client's first message is complete. @param received: bytes, held in memory until the tunnel opens."""
        assert self._received is not None
        self._received.holds(received)
        self.record.hello_s = short_seconds(self.elapsed())
        if self.permit is not None:
            self.permit.receive_hello()

    def enter_route(self, route: LiveRoute) -> None:
        """Count the connection for its route. @raise Refusal: the route excludes the client, or a limit is reached."""
        self.record.route = route.server_name or "no_server_name"
        if route.only_from is not None:
            proxied = self.record.proxied
            check_client(route.only_from, route.server_name, self.record.client, proxied.tlvs if proxied else {})
        if self.permit is not None:
            self.permit.enter_route(route)

    def enter_target(self, target: Target) -> None:
        """Count the connection for the target that is dialled now, instead of the previous one."""
        self.record.target = str(target)
        if self.target is not None:
            self._leave_target()
        self.target = target
        self.context.upstreams.add_connection(target)

    def enter_tunnel(self, tunnel: Tunnel) -> None:
        """The tunnel owns both sockets from now on. It may have been one before."""
        opened = self.context.opened if self.sock is not None else None  # otherwise it was a tunnel before
        self.sock = None
        self.tunnel = tunnel
        if self.permit is not None:
            self.permit.leave_connecting()
        if self._received is not None:
            self._received.holds(0)
        self._received, self.legacy_version = None, _TLS_1_2  # an idle tunnel keeps no objects of the stages
        if opened is not None:
            opened(self)

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._when_over is None

    @property
    def timeouts(self) -> Timeouts:
        """The time limits of its configuration."""
        return self.context.timeouts

    @property
    def ending(self) -> bool:
        """Whether L{end} was called."""
        return self._ending is not None

    @coroutine
    def while_connected(self, step: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run a step towards the tunnel. If the client leaves while the step waits, the step is cancelled.

        A step that does not wait costs no system call.
        """
        try:
            waits_for = step.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        assert self.sock is not None
        watch = ClientWatch(self.context.reactor, self.sock, self.may_half_close, self._client_left)
        try:
            return (yield from resume(step, waits_for))
        finally:
            watch.stop()

    def _client_left(self, why: str) -> None:
        self.end(Ending(Result.CLIENT_GONE, f"{why} {_DURING[self.stage]}"))

    @coroutine
    def _run(self, stages: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
        """Run the rest of a handler that waits."""
        try:
            yield from resume(stages, waits_for)
        except Exception:
            self._fail(Failure())
        self._stages = None

    def _fail(self, failure: Failure) -> None:
        self.finish(self._ending_of(failure))

    def _ending_of(self, failure: Failure) -> Ending:
        error = failure.value
        if isinstance(error, Refusal):
            self.record.alert = None if self.may_half_close else error.alert  # plaintext clients speak no TLS
            return Ending(error.result, str(error))
        if isinstance(error, CancelledError):
            return self._ending or Ending(Result.SHUTDOWN, "cancelled")
        log.failure("connection {id}: internal error", failure, id=self.record.id)
        return Ending(Result.INTERNAL_ERROR, "internal error: see the program's log")

    def _finish(self) -> None:
        record = self.record
        self._call_last()
        if self._received is not None:
            self._received.holds(0)
        answer = None
        if self.tunnel is not None:
            record.bytes_up, record.bytes_down = self.tunnel.bytes_up, self.tunnel.bytes_down
            answer = self.tunnel.answer
        self._leave_target()
        # Only plaintext listeners set may_half_close.
        record.reason = full_reason(record, answer, not self.may_half_close)
        record.total_s = self.elapsed()
        try:
            self.context.observer(record)
        except Exception:
            log.failure("connection {id}: an observer failed", id=record.id)
        if self.sock is not None:
            if record.alert is not None:
                self.last_bytes = fatal_alert(record.alert, self.legacy_version)
            self.context.closer(self.sock, self.last_bytes)

    def _call_last(self) -> None:
        for function in self._at_end or ():
            try:
                function()
            except Exception:
                log.failure("connection {id}: internal error at its end", id=self.record.id)

    def _leave_target(self) -> None:
        if self.target is not None:
            record = self.record
            self.context.upstreams.remove_connection(self.target, record.bytes_up, record.bytes_down)
            self.target = None

    def elapsed(self) -> float:
        """Seconds since it was accepted."""
        seconds: float = self.context.reactor.seconds() - self._started
        return seconds


Handler = Callable[[Lifecycle], Coroutine[Any, Any, None]]
"""Takes a connection from its first byte to a running tunnel, and returns: no coroutine waits while a tunnel is open.

It raises L{Refusal} if there is no tunnel. The lifecycle then closes the client's socket; a stage closes its own.
"""
