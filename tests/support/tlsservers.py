"""TLS servers on loopback, with trustme's certificates, and a client that records its connection."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, cast

import trustme
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.ssl import ContextFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.support.reactor import reactor

SECRET = b"for the right broker only"
"""What a L{Guest} sends when it is connected, and again after the TLS handshake."""


class ServerTLS(ContextFactory):
    """A server's TLS context.

    @param certified: require a client certificate of this authority.
    @ivar own: the server's certificate as PEM.
    """

    def __init__(
        self, authority: trustme.CA, *names: str, certified: bool = False, not_after: datetime | None = None
    ) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        issued = authority.issue_cert(*names, not_after=not_after)
        self.own = issued.cert_chain_pems[0]
        issued.configure_cert(self._context)
        if certified:
            authority.configure_trust(self._context)
            self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: bool(_[-1]))

    def getContext(self) -> SSL.Context:
        return self._context


def listen(case: TestCase, factory: ServerFactory, tls: ContextFactory | None) -> tuple[str, int]:
    """Listen on loopback until the test ends. @return: the address."""
    port: Any
    if tls is None:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    else:
        port = reactor.listenSSL(0, factory, tls, interface="127.0.0.1")
    case.addCleanup(port.stopListening)
    return ("127.0.0.1", port.getHost().port)


class Saying(Protocol):
    """A server that sends bytes to each client, then closes or waits."""

    def __init__(self, words: bytes, ends: bool, heard: list[bytes]) -> None:
        self.words = words
        self.ends = ends
        self.heard = heard

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self.words:
            self.transport.write(self.words)
        if self.ends:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)


class SayingFactory(ServerFactory):
    """Makes L{Saying} protocols. @ivar heard: all bytes from clients."""

    noisy = False

    def __init__(self, words: bytes = b"", ends: bool = True) -> None:
        self.heard: list[bytes] = []
        self._words = words
        self._ends = ends

    def buildProtocol(self, addr: object) -> Saying:
        return Saying(self._words, self._ends, self.heard)


@implementer(IHandshakeListener)
class Guest(Protocol):
    """A client that records the handshake, received bytes, and the end of its connection."""

    def __init__(self) -> None:
        self.greeted: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reason: BaseException | None = None
        self.heard = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)

    def handshakeCompleted(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)
        self.greeted.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.value
        self.lost.callback(None)

    async def end(self) -> BaseException | None:
        """Wait for the end of the connection. @return: its reason."""
        await self.lost
        return self.reason

    def leave(self) -> None:
        """Abort the connection, unless it has ended."""
        if self.reason is None:
            cast(ITCPTransport, self.transport).abortConnection()


GUESTS = Factory.forProtocol(Guest)
GUESTS.noisy = False


def trust(authority: trustme.CA) -> Any:
    """A trust root with this authority only."""
    return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])


def write_pem(folder: Path, name: str, *blobs: trustme.Blob) -> Path:
    """Write blobs to a PEM file."""
    file = folder / name
    file.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return file
