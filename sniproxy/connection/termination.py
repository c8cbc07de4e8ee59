"""The stage that terminates TLS: two handshakes instead of one from end to end.

The handshake with the broker comes first. The broker's certificate must be valid for the server name that the client
sent, so no client gets a handshake before the broker is verified.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs
from OpenSSL import SSL

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.tls.alerts import Alert
from sniproxy.tls.contexts import BadCertificate, BrokerTLS, server_context, verification_fault, verify_name
from sniproxy.tls.pem import Certified, certificate_names
from sniproxy.tls.selection import choose
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.names import ip_literal
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded


class CertificateStore:
    """The certificates of a listener, and the TLS contexts made of them.

    @param now: returns the time of day, with a time zone.
    """

    def __init__(self, certificates: Sequence[Certified], now: Callable[[], datetime]) -> None:
        # Indexed by name: there may be thousands, and each connection looks one up.
        self._certificates: dict[str, list[Certified]] = {}
        for each in certificates:
            for pattern in certificate_names(each.chain[0]):
                self._certificates.setdefault(pattern, []).append(each)
        self._now = now
        self._contexts: dict[int, SSL.Context] = {}

    def context(self, name: str) -> tuple[SSL.Context, str]:
        """The context for a server name, and the file of its certificate.

        @raise Refusal: C{no_certificate}.
        """
        wildcard = f"*.{name.partition('.')[2]}"
        found = [each for pattern in (name, wildcard) for each in self._certificates.get(pattern, ())]
        chosen = choose(found, name, self._now())
        if chosen is None:
            why = "no certificate covers this name; add one to the listener's certificates"
            raise Refusal(Result.NO_CERTIFICATE, why, Alert.UNRECOGNIZED_NAME)
        context = self._contexts.get(id(chosen))
        if context is None:
            context = self._contexts[id(chosen)] = server_context(chosen)
        return context, chosen.place


@attrs.frozen
class Terminator:
    """TLS settings of a listener that terminates TLS. Both functions read changed files again.

    @ivar certificates: returns those for clients. @ivar broker: returns trust and certificate towards brokers.
    """

    certificates: Callable[[], CertificateStore]
    broker: Callable[[], BrokerTLS]

    def server_name(self, name: str | None) -> str:
        """Check that a hello's server name can be terminated. @return: the name.

        @raise Refusal: C{no_server_name} or C{no_certificate}.
        """
        if name is None or ip_literal(name) is not None:
            what = "no server name" if name is None else f"the IP address {name} for a name"
            why = f"the hello has {what}; a listener that terminates TLS verifies the broker by it; use a dotted name"
            raise Refusal(Result.NO_SERVER_NAME, why, Alert.UNRECOGNIZED_NAME)
        self.certificates().context(name)
        return name


async def end_tls(conn: Lifecycle, terminator: Terminator, upstream: socket.socket, received: bytes) -> TLSSocket:
    """Shake hands with the target, then with the client, whose socket in C{conn} becomes a L{TLSSocket}.

    @param upstream: the target's socket. It is closed if a handshake fails.
    @param received: the client's bytes that were read already.
    @return: the target's socket, with TLS.
    @raise Refusal: a handshake failed, or the target's certificate is not valid for the client's server name.
    """
    context, record, client = conn.context, conn.record, conn.sock
    assert client is not None
    began, conn.stage = context.reactor.seconds(), "handshake"
    broker: TLSSocket | None = None
    try:
        name = record.server_name
        assert name is not None  # L{Terminator.server_name} has checked it
        broker = TLSSocket(upstream, terminator.broker().connection(name))
        left = context.timeouts.connect - (record.resolve_s or 0.0) - (record.connect_s or 0.0)
        try:
            await conn.while_connected(to_broker(context.reactor, broker, name, max(left, 0.0), context.account))
        finally:
            record.connect_s = (record.connect_s or 0.0) + context.reactor.seconds() - began
        tls, place = terminator.certificates().context(name)
        serving = SSL.Connection(tls, None)
        serving.set_accept_state()
        conn.sock = client = TLSSocket(client, serving, received)
        await to_client(context.reactor, client, place, context.timeouts.hello, context.account)
    except BaseException:
        context.closer(upstream if broker is None else broker)
        raise
    return broker


async def to_broker(reactor: IReactor, sock: TLSSocket, name: str, seconds: float, account: BufferAccount) -> None:
    """Shake hands with a broker, and verify that its certificate is trusted and valid for the name.

    @param seconds: the timeout. @param account: see L{Handshake}.
    @raise Refusal: C{upstream_tls_failed}; with an alert if the certificate is invalid, because a retry will not help.
    """
    try:
        await Handshake(reactor, sock, seconds, account).run()
        verify_name(sock.tls, name)
    except HandshakeError as error:
        fault = verification_fault(sock.tls)
        why = f"the TLS handshake with the target failed: {fault or bounded(str(error))}"
        raise Refusal(Result.UPSTREAM_TLS_FAILED, why, Alert.INTERNAL_ERROR if fault else None) from error
    except BadCertificate as error:
        why = f"the target's certificate is refused: {error}"
        raise Refusal(Result.UPSTREAM_TLS_FAILED, why, Alert.INTERNAL_ERROR) from error


async def to_client(reactor: IReactor, sock: TLSSocket, place: str, seconds: float, account: BufferAccount) -> None:
    """Shake hands with a client. @param place: of the certificate that it gets. @param seconds: the timeout.

    @param account: see L{Handshake}.

    @raise Refusal: C{tls_failed}; OpenSSL has sent the alert. C{client_gone}: the client ended or lost the connection.
    """
    try:
        await Handshake(reactor, sock, seconds, account).run()
    except HandshakeError as error:
        why = f"the TLS handshake with the client failed: {bounded(str(error))} (certificate: {place})"
        raise Refusal(Result.CLIENT_GONE if error.gone else Result.TLS_FAILED, why) from error
