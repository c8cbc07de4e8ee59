"""Listens on a port that other processes share. The kernel assigns each connection to one of them."""

from __future__ import annotations

import socket
from typing import Any, Protocol, cast

from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from sniproxy.net.endpoints import Endpoint
from sniproxy.util.reactor import IReactor


class SocketKeeper(Protocol):
    """Keeps the listening sockets of this process for its successor, by the text of their endpoint."""

    def take(self, endpoint: str) -> socket.socket | None:
        """The socket of this process's predecessor. None: there is none."""

    def keep(self, endpoint: str, sock: socket.socket) -> None:
        """Keep the socket and its accept queue if this process is killed."""

    def forget(self, endpoint: str) -> None:
        """This process is about to close the socket."""

    def forget_rest(self) -> None:
        """Close the sockets that were not taken."""


@implementer(IStreamServerEndpoint)
class SharedEndpoint:
    """A TCP endpoint with ``SO_REUSEPORT`` (socket(7)): Linux distributes connections among its listeners.

    All listeners must set the option and belong to one user.

    @param endpoint: a TCP endpoint.
    """

    def __init__(self, reactor: IReactor, endpoint: Endpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """@return: has fired. Fails with C{CannotListenError}, like every endpoint."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        host, port = self._endpoint.host, self._endpoint.port
        assert host is not None and port is not None
        family = socket.AF_INET6 if ":" in host or self._endpoint.kind == "tcp6" else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
                sock.listen(self._endpoint.backlog)
                return _adopt(self._reactor, sock, factory)
        except OSError as error:
            raise CannotListenError(host, port, error) from error


@implementer(IStreamServerEndpoint)
class KeptEndpoint:
    """A socket that already listens. @param sock: closed once its port exists."""

    def __init__(self, reactor: IReactor, sock: socket.socket) -> None:
        self._reactor = reactor
        self._sock = sock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """@return: as L{SharedEndpoint.listen}."""
        with self._sock as sock:
            sock.setblocking(False)
            return execute(_adopt, self._reactor, sock, protocolFactory)


class _UnixPort(unix.Port):
    """A port of a UNIX socket that already listens. Twisted's would change its mode to 666, and its backlog to 50."""

    _preexistingSocket: Any

    def startListening(self: Any) -> None:
        self.factory.doStart()
        self.socket, self._preexistingSocket = self._preexistingSocket, None
        self.fileno = self.socket.fileno
        self.connected = True
        self.numberAccepts = 100
        self.startReading()


def _adopt(reactor: IReactor, sock: socket.socket, factory: IProtocolFactory) -> IListeningPort:
    # The reactor duplicates the descriptor.
    if sock.family == socket.AF_UNIX:
        adopt: Any = _UnixPort._fromListeningDescriptor  # as the reactor does
        port = adopt(reactor, sock.fileno(), factory)
        port.startListening()
        return cast(IListeningPort, port)
    return reactor.adoptStreamPort(sock.fileno(), sock.family, cast("ServerFactory[Any]", factory))
