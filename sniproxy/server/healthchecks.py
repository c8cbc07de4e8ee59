"""Health checks: connects to each known target at an interval, with or without a TLS handshake."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.routing.targetstats import address
from sniproxy.routing.upstreams import Upstream, UpstreamTable
from sniproxy.tls.contexts import unverified_connection
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

log = Logger()


class HealthChecker:
    """Checks all known targets, each at its own time.

    A TLS check makes a handshake for the broker's name, and accepts every certificate, because clients verify it. It
    sends nothing after the handshake, so that the broker has only the connection to log.

    A target of a plaintext listener is only connected to.

    @param account: see L{Handshake}. @param checked: called after each check.
    """

    def __init__(
        self,
        reactor: IReactor,
        upstreams: UpstreamTable,
        closer: LingeringCloser,
        account: BufferAccount,
        dice: random.Random | None = None,
        checked: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._upstreams = upstreams
        self._closer = closer
        self._account = account
        self._dice = dice or random.Random()
        self._checked = checked
        self._dialer: Dialer | None = None
        self._due: dict[str, float] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._timer: Any = None

    def use_dialer(self, dialer: Dialer) -> None:
        """Check with another configuration's dialer from now on."""
        self._dialer = dialer
        self._stop_timer()
        if self._upstreams.health.check is not None:
            self._start_due_checks()

    def stop(self) -> None:
        """Stop checking, and cancel running checks."""
        self._stop_timer()
        for checking in list(self._running.values()):
            checking.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _start_due_checks(self) -> None:
        """Start the checks that are due. It runs ten times per interval, so that new targets do not wait."""
        interval, now = self._upstreams.health.interval, self._reactor.seconds()
        self._timer = self._reactor.callLater(interval / 10, self._start_due_checks)
        self._upstreams.forget(now)
        self._due = {key: due for key, due in self._due.items() if key in self._upstreams.known}
        for key, known in self._upstreams.known.items():
            if key not in self._running and self._due.get(key, now) <= now:
                self._due[key] = now + interval * self._dice.uniform(0.9, 1.1)
                self._start_check(key, known)

    def _start_check(self, key: str, known: Upstream) -> None:
        checking = self._running[key] = Deferred.fromCoroutine(self._check(known))

        def ended(_: object) -> None:
            if self._running.get(key) is checking:
                del self._running[key]

        what = "internal error in the health check of {target}"
        checking.addErrback(lambda failure: log.failure(what, failure, target=key))
        checking.addBoth(ended)
        if checking.called:
            self._running.pop(key, None)

    async def _check(self, known: Upstream) -> None:
        try:
            why = await self._probe(known)
        except CancelledError:
            return
        if self._upstreams.record_check(known, why, self._reactor.seconds()):
            state = "up" if known.up else "down"
            log.warn(
                "target {target} is {state}{why}", target=str(known.target), state=state, why=f": {why}" if why else ""
            )
        self._checked()

    async def _probe(self, known: Upstream) -> str:
        """Make one check. @return: why it failed; empty if it succeeded."""
        assert self._dialer is not None
        health, began = self._upstreams.health, self._reactor.seconds()
        try:
            sock = await self._dialer.dial([known.target], health.interval, lambda target: None)
        except DialError as error:
            return bounded(str(error).removeprefix(f"{known.target}: "))
        if health.check != "tls" or address(known.target) in self._upstreams.plaintext:
            self._closer(sock)
            return ""
        header = self._upstreams.headers.get(address(known.target))
        if header is not None:
            with suppress(OSError):  # the handshake meets the same error, and reports it
                sock.send(header)
        tls = TLSSocket(sock, unverified_connection(known.server_name))
        try:
            left = health.interval - (self._reactor.seconds() - began)
            await Handshake(self._reactor, tls, max(left, 0.0), self._account).run()
        except HandshakeError as error:
            return f"the TLS handshake failed: {bounded(str(error))}"
        finally:
            self._closer(tls)
        return ""
