"""Accepting connections."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.net.descriptor import WAIT, SocketDescriptor
from sniproxy.net.sockopts import tune
from sniproxy.net.synfilter import ignore_new, welcome_new
from sniproxy.net.unixsocket import remove_stale, unix_path
from sniproxy.util.names import host_port

log = Logger()

BATCH = 64
"""Connections accepted before the reactor serves others."""

LAST_ROUNDS = 64
"""Batches accepted at once when a listener stops: a backlog of 4096 (net.core.somaxconn) fits in them."""

LAST_CALL_S = 0.5
"""Seconds for which a listener that stops accepts clients whose handshake has begun, where others share its port."""

PAUSE_S = 0.25
"""Seconds without accepting after the system had no descriptor or memory left; clients wait in the backlog."""

REPEAT_INTERVAL_S = 10.0
"""Seconds before the same warning is given again."""

DEFERRED_S = 1
"""Seconds for which the kernel keeps back a client that says nothing."""

can_defer = hasattr(socket, "TCP_DEFER_ACCEPT")
"""Whether this system can."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_NO_MEMORY = os.strerror(errno.ENOMEM)

Accepted = Callable[[socket.socket, str], None]
"""Takes over a client's socket. The text is its address."""


def listen_at_once(endpoint: IStreamServerEndpoint, factory: IProtocolFactory, text: str) -> Any:
    """Listen with an endpoint of the kinds that bind at once: their Deferred has fired when C{listen} returns.

    A UNIX socket that a killed program left behind is removed.

    @param text: the endpoint, for the error. @return: the port.
    @raise CannotListenError: it cannot be listened on.
    """
    try:
        return _listen(endpoint, factory, text)
    except CannotListenError as error:
        path = unix_path(error)
        if path is None or not remove_stale(path):
            raise
        log.warn("removed stale UNIX socket {path}", path=path)
    return _listen(endpoint, factory, text)


def _listen(endpoint: IStreamServerEndpoint, factory: IProtocolFactory, text: str) -> Any:
    port: list[Any] = []
    failure: list[Failure] = []
    endpoint.listen(factory).addCallbacks(port.append, failure.append)
    try:
        if failure:
            failure[0].raiseException()
        if not port:
            raise NoSocket("this kind of endpoint does not listen at once")
    except (NoSocket, OSError) as error:
        raise CannotListenError(text, None, error) from error
    return port[0]


def own_port(sock: socket.socket | None) -> int | None:
    """The port that a client's connection came to. None: there is no TCP socket."""
    name = None if sock is None else sock.getsockname()
    return name[1] if isinstance(name, tuple) else None  # a unix socket's is a text


class NoSocket(Exception):
    """The endpoint gave a port that has no plain listening socket."""


class Acceptor(SocketDescriptor):
    """Accepts on the socket of a port that a Twisted endpoint opened.

    The endpoint knows how to bind, reuse and clean up; what it accepts would come as a protocol behind a transport, so
    its reading is stopped and done here.

    @ivar accepted: takes over each client; another configuration may put another one here.
    """

    __slots__ = ("_kind", "_must_wait", "_paused", "_port", "_quiet_until", "_reactor", "_stopping", "accepted", "name")

    def __init__(
        self, reactor: Any, port: IListeningPort, name: str, accepted: Accepted, must_wait: Callable[[], str | None]
    ) -> None:
        """@param must_wait: why no connection may be accepted now. None: one may.

        @raise NoSocket: the port is not of the kind that listens on a socket.
        """
        sock = getattr(port, "socket", None)
        stop_reading = getattr(port, "stopReading", None)
        if not isinstance(sock, socket.socket) or stop_reading is None:
            raise NoSocket("this kind of endpoint has no listening socket of its own")
        super().__init__(sock)
        stop_reading()
        try:
            tune(sock)  # what it accepts has these options from it (tcp(7), socket(7))
        except OSError:  # a kind of socket that has none
            pass
        # As numbers: socket.accept makes enums of them for each connection, which takes longer than accepting does.
        self._kind = int(sock.family), int(sock.type), sock.proto
        self.name = name
        self.accepted = accepted
        self._must_wait = must_wait
        self._paused: Any = None
        self._port = port
        self._quiet_until = 0.0
        self._reactor = reactor
        self._stopping = False
        reactor.addReader(self)

    @property
    def address(self) -> tuple[str, int] | None:
        """The host and port it is bound to; None: not TCP."""
        if self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = self.sock.getsockname()[:2]
        return host, port

    def defer(self, wanted: bool) -> None:
        """Whether the kernel keeps back who has connected and says nothing, for at most L{DEFERRED_S} seconds (tcp(7)).

        A client that speaks at once, as those of TLS do, is then accepted together with its hello.
        """
        if can_defer and self.address is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFERRED_S if wanted else 0)

    def doRead(self) -> None:
        self._round()

    def _round(self) -> bool:
        """Accept up to L{BATCH} connections. @return: there were as many, and more may wait."""
        # What is raised here would make the reactor give the listener up for good.
        for _ in range(BATCH):
            try:
                # At the stop a limit would turn waiting clients away with a reset.
                why = None if self._stopping else self._must_wait()
                if why is not None:
                    self._pause(why)
                    return False
                sock, address = self._accept()
            except MemoryError:
                self._pause(_NO_MEMORY)
                return False
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(os.strerror(error.errno))
                # Anything else concerns a connection that was gone before it was accepted (accept(2)).
                elif error.errno not in WAIT and not (self._stopping and error.errno == errno.EINVAL):
                    continue
                return False
            try:
                sock.setblocking(False)
                if self._stopping:
                    welcome_new(sock)
                self.accepted(sock, _client(address))
            except Exception as error:
                sock.close()  # before the log: it takes memory
                with suppress(MemoryError):
                    log.failure("listener {name}: internal error while accepting a connection", name=self.name)
                if isinstance(error, MemoryError):
                    self._pause(_NO_MEMORY)
                    return False
        return True

    def _accept(self) -> tuple[socket.socket, Any]:
        """@return: a client's socket, and its address as the system gives it."""
        fd, address = self.sock._accept()  # type: ignore[attr-defined]
        try:
            return socket.socket(*self._kind, fileno=fd), address
        except BaseException:  # nobody has the number yet
            os.close(fd)
            raise

    def stop(self) -> Any:
        """Close the listening socket, after accepting all clients that wait in the backlog: they would get a reset.

        It ignores new clients from now on (L{ignore_new}). Where other processes share the port (C{SO_REUSEPORT}), or
        if the system lacks descriptors or memory, the socket is closed L{LAST_CALL_S} later, and L{DEFERRED_S} seconds
        later than that where the kernel held silent clients back. A second call closes it at once.

        @return: a Deferred or None, as L{IListeningPort.stopListening}.
        """
        if self._stopping:
            return self.close()
        self._stopping = True
        self._unpause()
        self._reactor.addReader(self)
        ignore_new(self.sock)
        held_back = DEFERRED_S if self._deferred else 0
        self.defer(False)
        if self._accept_rest() and not self._shared and not held_back:
            return self.close()
        closed: Deferred[Any] = Deferred()
        self._reactor.callLater(LAST_CALL_S + held_back, self._end_last_call, closed)
        return closed

    @property
    def _deferred(self) -> bool:
        if not can_defer or self.address is None:
            return False
        return bool(self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT))

    @property
    def _shared(self) -> bool:
        return self.address is not None and bool(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def _accept_rest(self) -> bool:
        """@return: none is left."""
        for _ in range(LAST_ROUNDS):
            if not self._round():
                return self._paused is None or not self._paused.active()
        return False

    def _end_last_call(self, closed: Deferred[Any]) -> None:
        self._accept_rest()
        maybeDeferred(self.close).chainDeferred(closed)

    def close(self) -> Any:
        """Close the listening socket at once; who waits in the backlog gets a reset.

        @return: as L{stop}.
        """
        self._reactor.removeReader(self)
        self._unpause()
        return self._port.stopListening()

    def _pause(self, why: str) -> None:
        # Without memory for the pause itself the reactor comes back at once: either it still reads, or the call is set.
        with suppress(MemoryError):
            self._unpause()  # it is paused already when it stops
            self._paused = self._reactor.callLater(PAUSE_S, self._reactor.addReader, self)
            self._reactor.removeReader(self)
            if self._reactor.seconds() >= self._quiet_until:
                self._quiet_until = self._reactor.seconds() + REPEAT_INTERVAL_S
                log.warn("listener {name} paused: {why}; new connections wait in the backlog", name=self.name, why=why)

    def _unpause(self) -> None:
        if self._paused is not None and self._paused.active():
            self._paused.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The port closes its own socket."""


def _client(address: Any) -> str:
    """``192.0.2.7:50123`` or ``[2001:db8::7]:50123``; a unix socket's peer mostly has no name."""
    if isinstance(address, tuple):
        host, port = address[:2]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return host_port(host, port)
    return "unix"
