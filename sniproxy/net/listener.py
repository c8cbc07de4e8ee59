"""Accepts connections."""

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
from sniproxy.net.unixsocket import remove_path, remove_stale, unix_path
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

log = Logger()

BATCH = 64
"""Connections accepted before the reactor serves other sockets."""

LAST_ROUNDS = 64
"""Maximum batches accepted at once when a listener stops: enough for a backlog of 4096 (net.core.somaxconn)."""

LAST_CALL_S = 0.5
"""Seconds for which a stopping listener on a shared port accepts clients whose handshake has begun."""

PAUSE_S = 0.25
"""Seconds without accepting after the system ran out of descriptors or memory. Clients wait in the backlog."""

REPEAT_INTERVAL_S = 10.0
"""Seconds before a warning is repeated."""

DEFERRED_S = 1
"""Seconds for which the kernel holds back a client that sends nothing."""

can_defer = hasattr(socket, "TCP_DEFER_ACCEPT")
"""Whether this system supports L{DEFERRED_S}."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_NO_MEMORY = os.strerror(errno.ENOMEM)

Accepted = Callable[[socket.socket, str], None]
"""Takes over a client's socket. The text is the client's address."""


def listen_at_once(endpoint: IStreamServerEndpoint, factory: IProtocolFactory, text: str) -> Any:
    """Listen on an endpoint of a kind that binds synchronously: its Deferred has fired when C{listen} returns.

    A UNIX socket that a killed program left behind is removed.

    @param text: the endpoint, for the error. @return: the port.
    @raise CannotListenError: the endpoint cannot listen.
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


def hand_over(port: Any, taken: bool = True) -> None:
    """Close the descriptor of a Twisted port whose socket another process has. Open connections stay.

    C{stopListening} would also shut the socket down, for all processes, and remove the path of a UNIX socket.

    @param taken: False: no other process has the socket, so its path is removed.
    """
    port.stopReading()
    if not taken:
        remove_path(port.socket)
    port.socket.close()
    lock = getattr(port, "lockFile", None)  # of a UNIX socket: it names this process
    if lock is not None:
        with suppress(OSError, ValueError):  # the folder may be another user's
            lock.unlock()


def own_port(sock: socket.socket | None) -> int | None:
    """The local port of a client's connection. None: there is no TCP socket."""
    name = None if sock is None else sock.getsockname()
    return name[1] if isinstance(name, tuple) else None  # the name of a unix socket is a str


class NoSocket(Exception):
    """The endpoint's port has no plain listening socket."""


class Acceptor(SocketDescriptor):
    """Accepts on the socket of a port that a Twisted endpoint opened.

    The endpoint binds, reuses and cleans up. Its own accepting would wrap each connection in a transport, so that is
    stopped and done here.

    @ivar accepted: takes over each client; a reload may replace it.
    """

    __slots__ = ("_kind", "_must_wait", "_paused", "_port", "_quiet_until", "_reactor", "_stopping", "accepted", "name")

    def __init__(
        self,
        reactor: IReactor,
        port: IListeningPort,
        name: str,
        accepted: Accepted,
        must_wait: Callable[[], str | None],
    ) -> None:
        """@param must_wait: returns the reason to pause accepting. None: there is none.

        @raise NoSocket: the port has no listening socket.
        """
        sock = getattr(port, "socket", None)
        stop_reading = getattr(port, "stopReading", None)
        if not isinstance(sock, socket.socket) or stop_reading is None:
            raise NoSocket("this kind of endpoint has no listening socket of its own")
        super().__init__(sock)
        stop_reading()
        try:
            tune(sock)  # accepted sockets inherit these options (tcp(7), socket(7))
        except OSError:  # the socket does not support them
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
        """The host and port that the socket is bound to. None: not TCP."""
        if self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = self.sock.getsockname()[:2]
        return host, port

    def defer(self, wanted: bool) -> None:
        """Whether the kernel holds back silent connections, for at most L{DEFERRED_S} seconds (tcp(7)).

        A client that speaks at once, as in TLS, is then accepted together with its hello.
        """
        if can_defer and self.address is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFERRED_S if wanted else 0)

    def doRead(self) -> None:
        self._round()

    def _round(self) -> bool:
        """Accept up to L{BATCH} connections. @return: the batch was full, and more clients may wait."""
        # An exception here would make the reactor drop the listener.
        for _ in range(BATCH):
            try:
                # While stopping, a pause would reset the clients in the backlog.
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
                # All other errors belong to a connection that ended before it was accepted (accept(2)).
                elif error.errno not in WAIT and not (self._stopping and error.errno == errno.EINVAL):
                    continue
                return False
            try:
                sock.setblocking(False)
                if self._stopping:
                    welcome_new(sock)
                self.accepted(sock, address_text(address))
            except Exception as error:
                sock.close()  # before logging, which needs memory
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
        except BaseException:  # no object owns the descriptor yet
            os.close(fd)
            raise

    def stop(self) -> Any:
        """Close the listening socket after accepting all clients in the backlog, which would otherwise get a reset.

        The socket ignores new clients from now on (L{ignore_new}). If other processes share the port (C{SO_REUSEPORT}),
        or if descriptors or memory are exhausted, it is closed L{LAST_CALL_S} later, and another L{DEFERRED_S} seconds
        later if the kernel held silent clients back. A second call closes it at once.

        @return: a Deferred or None, as L{IListeningPort.stopListening}.
        """
        if self._stopping:
            return self.close()
        self._stopping = True
        self._unpause()
        self._resume()
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
        """@return: the backlog is empty."""
        for _ in range(LAST_ROUNDS):
            if not self._round():
                return self._paused is None or not self._paused.active()
        return False

    def _end_last_call(self, closed: Deferred[Any]) -> None:
        self._accept_rest()
        maybeDeferred(self.close).chainDeferred(closed)

    def hold(self) -> None:
        """Accept no connection until L{release}. Clients wait in the backlog."""
        self._unpause()
        self._reactor.removeReader(self)

    def release(self) -> None:
        """Accept again after L{hold}."""
        self._resume()

    def hand_over(self) -> None:
        """Close this process's descriptor. Another process has the socket, and keeps its path and its backlog."""
        self.hold()
        hand_over(self._port)

    def close(self) -> Any:
        """Close the listening socket at once. Clients in the backlog get a reset.

        @return: as L{stop}.
        """
        self._reactor.removeReader(self)
        self._unpause()
        return self._port.stopListening()

    def _pause(self, why: str) -> None:
        # Without memory for the pause, the reactor retries at once or after the delay.
        with suppress(MemoryError):
            self._unpause()  # a stopping listener may be paused
            self._paused = self._reactor.callLater(PAUSE_S, self._resume)
            self._reactor.removeReader(self)
            if self._reactor.seconds() >= self._quiet_until:
                self._quiet_until = self._reactor.seconds() + REPEAT_INTERVAL_S
                log.warn("listener {name} paused: {why}; new connections wait in the backlog", name=self.name, why=why)

    def _resume(self) -> None:
        try:
            self._reactor.addReader(self)
        except OSError as error:  # epoll_ctl(2): no memory, or too many are watched
            self._pause(os.strerror(error.errno or errno.ENOMEM))

    def _unpause(self) -> None:
        if self._paused is not None and self._paused.active():
            self._paused.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The port closes its own socket."""


def address_text(address: Any) -> str:
    """The text of a socket's address: ``192.0.2.7:50123``, ``[2001:db8::7]:50123``.

    ``unix`` for a unix socket, whose peer usually has no name.
    """
    if isinstance(address, tuple):
        host, port = address[:2]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return host_port(host, port)
    return "unix"
