"""Dials a connection's targets in order, each by happy eyeballs (RFC 8305)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sniproxy.events import Result
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.connect import FAILED, Begun, begin, failure_kind
from sniproxy.net.getaddrinfo import Cause, LookupFailed
from sniproxy.net.lookup import lookups_of
from sniproxy.net.opensockets import AttemptSockets, Connecting, DialSockets
from sniproxy.net.overlapping import ATTEMPT_DELAY_S, MIN_ATTEMPT_S, Overlapping
from sniproxy.net.transparent import CannotBind, why_not_from
from sniproxy.net.veto import LoopGuard
from sniproxy.util.names import ip_literal
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

MIN_DELAY_S = 0.05
"""Minimum for L{ATTEMPT_DELAY_S} if a target has too many addresses for its time."""

_LOCAL = (Cause.LIMIT, Cause.NO_FILES, Cause.NO_THREAD)

Veto = Callable[[Target, str | None], str | None]
"""Returns the reason to deny a target, or None. Called before the target's name is looked up, without an address, and
for each resolved address when it is dialled. OSError: no decision is possible for this address."""


class DialError(Exception):
    """No target could be connected. The message lists each target with its error.

    @ivar result: C{denied}, C{connect_timeout} or C{connect_failed}.
    @ivar local: this process lacked a descriptor or a thread, or a limit was reached; the target is not at fault.
    @ivar kind: ``timeout``, or how the last address failed; see L{failure_kind}.
    """

    def __init__(self, result: Result, reason: str, local: bool = False, kind: str = FAILED) -> None:
        super().__init__(reason)
        self.result = result
        self.local = local
        self.kind = "timeout" if result is Result.CONNECT_TIMEOUT else kind


class Dialer:
    """Connects to targets.

    @param veto: see L{Veto}. It checks the address that is dialled, so a name that changes its addresses gains nothing.
    @param holds: called with the change in the number of sockets that a dial uses beyond its first.
    @param guard: what C{veto} asks, for the plans of routes. None: routes get no plans.
    """

    def __init__(
        self,
        reactor: IReactor,
        veto: Veto,
        closer: LingeringCloser,
        holds: Callable[[int], None] = lambda _: None,
        guard: LoopGuard | None = None,
    ) -> None:
        self.holds = holds
        self.guard = guard
        self.reactor = reactor
        self.veto = veto
        self.closer = closer
        self.lookups = lookups_of(reactor)

    async def dial(
        self,
        targets: Sequence[Target],
        seconds: float,
        trying: Callable[[Target], None],
        failed: Callable[[Target, DialError], None] | None = None,
        client: str | None = None,
        begun: Begun | None = None,
        source: str | None = None,
    ) -> socket.socket:
        """Connect to the first target that accepts.

        Cancelling closes all sockets and lookups at once.

        @param seconds: for all targets together, lookups included. Each target gets an equal share of the remaining
            time; if that is less than a second, attempts overlap (L{Overlapping}).
        @param trying: called with each target before it is dialled, and again with the connected one if others were
            tried since.
        @param failed: called with each permitted target that could not be connected, and the error.
        @param client: the client that formed the name of a C{client_formed} target, as admission counts clients. None:
            its lookups have no limit per client.
        @param begun: the first target is being dialled already (L{begin}), and C{trying} was called. None: it is not.
        @param source: the IP address of the client, to dial from; addresses of the other family are denied. None: the
            system chooses an address of this machine.
        @return: a connected, non-blocking socket.
        @raise DialError: no target could be connected.
        """
        if not targets:
            raise DialError(Result.CONNECT_FAILED, "there is no target")
        tried, first = targets[0], begun
        if first is None:
            trying(tried)
            first = self._begin(tried, source)
            if first is not None and not first[1]:  # often connected at once
                return first[0]
        errors: list[str] = []
        results: set[Result] = set()
        sockets = DialSockets(self.holds)

        def attempt(target: Target, length: float) -> Deferred[socket.socket]:
            nonlocal first, tried
            begun, first = first, None
            if target is not tried:
                trying(target)
                tried, begun = target, self._begin(target, source)
            return _Attempt(self, target, length, begun, client, sockets, source).result

        def lost(target: Target, failure: Failure) -> None:
            error: Any = failure.value
            if not isinstance(error, DialError):
                failure.raiseException()
            errors.append(f"{target}: {error}")
            if failed is not None and error.result is not Result.DENIED and not error.local:
                failed(target, error)
            results.add(error.result)

        dialling: Overlapping[socket.socket] = Overlapping(self.reactor, targets, seconds, attempt, lost)
        connected = await dialling.result
        if connected is not None:
            target, sock = connected
            if target is not tried:
                trying(target)
            return sock
        if dialling.untried:
            errors.append(f"timed out before {dialling.untried} of {len(targets)} targets were tried")
            results.add(Result.CONNECT_TIMEOUT)
        for result in (Result.CONNECT_FAILED, Result.CONNECT_TIMEOUT, Result.DENIED):
            if result in results:
                raise DialError(result, "; ".join(errors))
        raise AssertionError("a dial that fails has a result")

    def veto_from(self, source: str | None) -> Veto:
        """The veto for targets that are dialled from a client's address. @param source: see L{dial}."""
        if source is None:
            return self.veto

        def veto(target: Target, host: str | None) -> str | None:
            return self.veto(target, host) or (None if host is None else why_not_from(source, host))

        return veto

    def _begin(self, target: Target, source: str | None) -> Begun | None:
        """Start dialling a target that is an address. On a fast network it is often connected at once.

        @return: None: the target is a name, or is denied.
        """
        if len(target.addresses) > 1:
            return None
        host = target.addresses[0] if target.addresses else target.host
        veto = self.veto_from(source)
        if ip_literal(host) is None or veto(target, None) is not None:
            return None
        try:
            return None if veto(target, host) is not None else begin(host, target.port, source)
        except OSError:  # the attempt meets the same error and reports it
            return None


class _Attempt:
    """Dials one target: finds its addresses and tries them, each after a delay, until one answers.

    @param begun: the target is a permitted address and is being dialled. None: it is not.
    @param client: see L{Dialer.dial}. @param source: see L{Dialer.dial}.
    """

    def __init__(
        self,
        dialer: Dialer,
        target: Target,
        seconds: float,
        begun: Begun | None,
        client: str | None,
        sockets: DialSockets,
        source: str | None,
    ) -> None:
        self._reactor = dialer.reactor
        self._veto = dialer.veto_from(source)
        self._source = source
        self._closer = dialer.closer
        self._target = target
        self._addresses: list[str] = []
        self._errors: dict[str, str] = {}
        self._denied, self._local, self._kind = 0, False, FAILED
        self._sockets: AttemptSockets[Connecting] = AttemptSockets(sockets)
        self._next: Any = None
        self._lookup: Deferred[None] | None = None
        self._seconds = seconds
        self._delay = ATTEMPT_DELAY_S
        self._deadline: Deadline | None = None
        self.result: Deferred[socket.socket] = Deferred(lambda _: self._stop())
        reason = self._veto(target, None) if begun is None else None
        if begun is not None:
            if not self._begin(target.addresses[0] if target.addresses else target.host, begun):
                self._try_next()
        elif reason is not None:
            self._fail(Result.DENIED, reason)
        elif target.addresses:
            self._found(list(target.addresses))
        elif ip_literal(target.host) is not None:
            self._found([target.host])
        else:
            lookups = dialer.lookups
            answer = lookups.formed(target.host, client) if target.client_formed else lookups.addresses(target.host)
            self._lookup = answer.addCallbacks(self._found, self._not_found)
        if not self.result.called:  # it is often connected at once
            self._deadline = timer_wheel_of(self._reactor).after(seconds, self._timed_out)

    def _found(self, addresses: list[str]) -> None:
        if self.result.called:  # too late
            return
        self._addresses = interleave(addresses)
        self._delay = min(ATTEMPT_DELAY_S, max(self._seconds / (2 * len(addresses)), MIN_DELAY_S))
        self._try_next()

    def _not_found(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # by L{_stop}
            return
        cause = failure.value.cause if isinstance(failure.value, LookupFailed) else None
        self._local = cause in _LOCAL
        result = Result.CONNECT_TIMEOUT if cause is Cause.NO_ANSWER else Result.CONNECT_FAILED
        self._fail(result, str(failure.value))

    def _try_next(self) -> None:
        """Dial the next address. If it does not answer within the delay, dial the one after it, too."""
        self._cancel(self._next)
        while self._addresses:
            if self._sockets.full and not self._give_up_oldest():
                self._next = self._reactor.callLater(self._delay, self._try_next)
                return
            address = self._addresses.pop(0)
            try:
                reason = self._veto(self._target, address)
            except OSError as error:
                self._errors[address] = os.strerror(error.errno or errno.EIO)
                continue
            if reason is not None:
                self._denied += 1
                self._errors[address] = reason
                continue
            if self._begin(address):
                if self._addresses:
                    self._next = self._reactor.callLater(self._delay, self._try_next)
                return
        if not self._sockets:
            self._fail(
                Result.DENIED if self._denied == len(self._errors) else Result.CONNECT_FAILED,
                "; ".join(_distinct(self._errors, self._target.host)),
            )

    def _give_up_oldest(self) -> bool:
        """Make room for a socket. @return: whether there is room."""
        oldest = self._sockets.oldest(self._reactor.seconds())
        if oldest is None:
            return False
        self._errors[oldest.address] = f"no answer within {MIN_ATTEMPT_S:g} s"
        self._give_up(oldest)
        return True

    def _give_up(self, connecting: Connecting) -> None:
        self._sockets.discard(connecting)
        connecting.give_up()

    def _begin(self, address: str, begun: Begun | None = None) -> bool:
        """@return: the socket is connected or connecting. A name may have many addresses that fail at once."""
        waits = False

        def connected(sock: socket.socket) -> None:
            self._sockets.discard(connecting)
            self._stop()
            self.result.callback(sock)

        def failed(number: int) -> None:
            self._sockets.discard(connecting)
            self._errors[address], self._kind = os.strerror(number), failure_kind(number)
            if waits:
                self._try_next()

        try:
            sock, number = begun or begin(address, self._target.port, self._source)
        except OSError as error:  # no descriptor is left, or the system lacks the address family or the capability
            cannot_bind = isinstance(error, CannotBind)
            self._local = self._local or cannot_bind or error.errno in (errno.EMFILE, errno.ENFILE)
            self._errors[address] = str(error.strerror if cannot_bind else os.strerror(error.errno or errno.EIO))
            return False
        connecting = Connecting(self._reactor, self._closer, sock, connected, failed, address)
        self._sockets.add(connecting, self._reactor.seconds())
        try:
            connecting.begin(number)
        except OSError as error:  # epoll_ctl(2): no memory, or too many are watched
            self._local = True
            self._errors[address] = f"cannot watch its socket: {error.strerror}"
            self._give_up(connecting)
            return False
        waits = True
        return connecting in self._sockets or self.result.called

    def _timed_out(self) -> None:
        lookup = f"name lookup timed out after {self._seconds:.3g} s: no name server answered"
        self._fail(Result.CONNECT_TIMEOUT, f"no answer within {self._seconds:.3g} s" if self._sockets else lookup)

    def _fail(self, result: Result, reason: str) -> None:
        self._stop()
        self.result.errback(DialError(result, reason, self._local, self._kind))

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._cancel(self._next)
        self._addresses = []
        if self._lookup is not None:
            self._lookup.cancel()
        for connecting in self._sockets:
            self._give_up(connecting)

    @staticmethod
    def _cancel(timer: Any) -> None:
        if timer is not None and timer.active():
            timer.cancel()


def interleave(addresses: Iterable[str]) -> list[str]:
    """Alternate the two address families, beginning with the family of the first address (RFC 8305, section 4)."""
    ordered = list(addresses)
    first = [address for address in ordered if (":" in address) == (":" in ordered[0])]
    second = [address for address in ordered if address not in first]
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def _distinct(errors: dict[str, str], host: str) -> list[str]:
    """Each error with its address. The address is left out if the target consists of it."""
    if list(errors) == [host]:
        return list(errors.values())
    return [f"{address}: {error}" for address, error in errors.items()]
