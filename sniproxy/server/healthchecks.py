"""Checks of targets: whether each can be connected, or shakes hands, again and again."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.routing.upstreams import Upstream, UpstreamTable, address
from sniproxy.tls.contexts import unverified_connection
from sniproxy.util.text import bounded

log = Logger()


class Checker:
    """Checks all targets that are known, each at its own time.

    A target that a plaintext listener leads to is only connected.

    A TLS check shakes hands, asking for the broker's name, and believes every certificate: whether it is trusted is for
    clients to say. Nothing is sent after that, so that a broker has nothing to log but that somebody was there.
    """

    def __init__(
        self, reactor: Any, standing: UpstreamTable, closer: LingeringCloser, dice: random.Random | None = None
    ) -> None:
        self._reactor = reactor
        self._standing = standing
        self._closer = closer
        self._dice = dice or random.Random()
        self._dialer: Dialer | None = None
        self._due: dict[str, float] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._timer: Any = None

    def change(self, dialer: Dialer) -> None:
        """Another configuration is in force. @param dialer: dials as it says."""
        self._dialer = dialer
        self._stop_timer()
        if self._standing.health.check is not None:
            self._look()

    def stop(self) -> None:
        """Check no more."""
        self._stop_timer()
        for checking in list(self._running.values()):
            checking.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        """Begin with what is due; at a tenth of the interval, so that new targets need not wait."""
        interval, now = self._standing.health.interval, self._reactor.seconds()
        self._timer = self._reactor.callLater(interval / 10, self._look)
        self._standing.forget(now)
        self._due = {key: due for key, due in self._due.items() if key in self._standing.known}
        for key, known in self._standing.known.items():
            if key not in self._running and self._due.get(key, now) <= now:
                self._due[key] = now + interval * self._dice.uniform(0.9, 1.1)
                self._begin(key, known)

    def _begin(self, key: str, known: Upstream) -> None:
        checking = self._running[key] = Deferred.fromCoroutine(self._check(known))

        def ended(_: object) -> None:
            if self._running.get(key) is checking:
                del self._running[key]

        checking.addErrback(lambda failure: log.failure("A check of {target} failed", failure, target=key))
        checking.addBoth(ended)
        if checking.called:
            self._running.pop(key, None)

    async def _check(self, known: Upstream) -> None:
        try:
            why = await self._try(known)
        except CancelledError:
            return
        if self._standing.record_check(known, why):
            state = "up" if known.up else "down"
            log.warn(
                "target {target}: {state}{why}", target=str(known.target), state=state, why=f": {why}" if why else ""
            )

    async def _try(self, known: Upstream) -> str:
        """@return: why it failed; empty: it did not."""
        assert self._dialer is not None
        health, began = self._standing.health, self._reactor.seconds()
        try:
            sock = await self._dialer.dial([known.target], health.interval, lambda target: None)
        except DialError as error:
            return bounded(str(error).removeprefix(f"{known.target}: "))
        if health.check != "tls" or address(known.target) in self._standing.plaintext:
            self._closer(sock)
            return ""
        tls = TLSSocket(sock, unverified_connection(known.server_name))
        try:
            left = health.interval - (self._reactor.seconds() - began)
            await Handshake(self._reactor, tls, max(left, 0.0)).run()
        except HandshakeError as error:
            return f"the TLS handshake failed: {bounded(str(error))}"
        finally:
            self._closer(tls)
        return ""
