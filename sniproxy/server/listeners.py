"""Opens, changes and closes the listening sockets."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from sniproxy.config.model import Bridge, Listener
from sniproxy.net import unixsocket
from sniproxy.net.listener import Accepted, Acceptor, NoSocket, listen_at_once
from sniproxy.net.portowner import port_owner
from sniproxy.net.reuseport import KeptEndpoint, SocketKeeper
from sniproxy.relay.leaving import end_watch_of
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

log = Logger()

Entrance = Listener | Bridge


class _NoProtocol(Factory):
    """The factory that endpoints require. It gets no connections: L{Acceptor} accepts them."""

    noisy = False

    def logPrefix(self) -> str:
        return "sniproxy"


@attrs.frozen
class ListenerSpec:
    """A listener of a configuration, and the endpoint that opens it."""

    listener: Entrance
    endpoint: IStreamServerEndpoint


@attrs.frozen
class _Open:
    listener: Entrance
    acceptor: Acceptor


class Listeners:
    """All listening sockets.

    @param must_wait: returns why no connection may be accepted now. None: one may.
    @param keeper: keeps sockets of shared ports for the next process. None: they are not kept.
    """

    def __init__(
        self, reactor: IReactor, must_wait: Callable[[], str | None], keeper: SocketKeeper | None = None
    ) -> None:
        self._reactor = reactor
        self._keeper = keeper
        self._must_wait = must_wait
        self._open: list[_Open] = []
        self._closing: list[Any] = []

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """The bound addresses of TCP listeners, by listener name."""
        found = ((one.listener.name, one.acceptor.address) for one in self._open)
        return {name: address for name, address in found if address is not None}

    def prepare(
        self, wanted: Sequence[ListenerSpec], undo: ExitStack
    ) -> Callable[[Callable[[Entrance], Accepted]], None]:
        """Open the new listeners. An unchanged endpoint keeps its socket and its backlog.

        New listeners accept no connection before the next round of the reactor. Old ones accept until the change.

        @param undo: gets callbacks that close the opened sockets.
        @return: makes the change, and does not fail. Its argument returns the callback for a listener's connections.
        @raise CannotListenError: an address cannot be listened on.
        """
        left = list(self._open)
        kept: dict[str, Acceptor] = {}
        for same in (_same_name, _same_endpoint):
            for one in wanted:
                if one.listener.name in kept:
                    continue
                found = next((old for old in left if same(old.listener, one.listener)), None)
                if found is not None:
                    left.remove(found)
                    kept[one.listener.name] = found.acceptor
        now = []
        for one in wanted:
            acceptor = kept.get(one.listener.name)
            if acceptor is None:
                acceptor = self._opened(one, left)
                undo.callback(acceptor.close)
            now.append(_Open(one.listener, acceptor))

        def change(accepting: Callable[[Entrance], Accepted]) -> None:
            for old in left:
                # Connections in its backlog are still accepted, with the previous configuration.
                self._stop(old)
                log.info("listener {name}: closed", name=old.listener.name)
            if not self._open:
                end_watch_of(self._reactor).keep_open()
            self._open = now
            for one in now:
                one.acceptor.name, one.acceptor.accepted = one.listener.name, accepting(one.listener)
                one.acceptor.defer(isinstance(one.listener, Listener) and one.listener.deferred_accept)
                if one.listener.name not in kept:
                    if self._keeper is not None and one.listener.endpoint.shared:
                        self._keeper.keep(one.listener.endpoint.text, one.acceptor.sock)
                    where = _where(one.acceptor.address, one.listener)
                    log.info("listener {name}: listening on {where}", name=one.listener.name, where=where)
            if self._keeper is not None:
                self._keeper.forget_rest()

        return change

    def stop(self) -> list[Any]:
        """Close all listeners. @return: Deferreds that fire when they are closed."""
        for one in self._open:
            self._stop(one)
        if self._open:
            end_watch_of(self._reactor).allow_close()
        self._open = []
        return self._closing

    def _stop(self, one: _Open) -> None:
        if self._keeper is not None:
            self._keeper.forget(one.listener.endpoint.text)
        # systemd keeps its socket open; the next process or another worker accepts what waits in it.
        inherited = one.listener.endpoint.kind == "systemd"
        closed = one.acceptor.close() if inherited else one.acceptor.stop()
        self._closing = [deferred for deferred in self._closing if not deferred.called]
        if closed is not None:
            self._closing.append(closed)

    def _opened(self, wanted: ListenerSpec, left: Sequence[_Open]) -> Acceptor:
        listener, endpoint = wanted.listener, wanted.endpoint
        if self._keeper is not None and (sock := self._keeper.take(listener.endpoint.text)) is not None:
            endpoint = KeptEndpoint(self._reactor, sock)
        try:
            port = listen_at_once(endpoint, _NoProtocol(), listener.endpoint.text)
        except CannotListenError as error:
            for old in left:
                if listener.endpoint.port and old.listener.endpoint.port == listener.endpoint.port:
                    raise _NeedsRestart(listener, old.listener) from error
            raise
        try:
            return Acceptor(self._reactor, port, listener.name, _close_early, self._must_wait)
        except NoSocket as error:
            port.stopListening()
            raise CannotListenError(listener.endpoint.text, None, error) from error


class _NeedsRestart(CannotListenError):
    """A new listener needs the port of an old one, which stays open until the new one listens."""

    def __init__(self, listener: Entrance, old: Entrance) -> None:
        why = f"listener {old.name} uses this port as {old.endpoint.text}; restart to change the endpoint"
        CannotListenError.__init__(self, listener.endpoint.text, None, ValueError(why))


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one. @return: the current limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a container may forbid it
            return soft
    return hard


def why_not_listening(error: CannotListenError) -> str:
    """Why a listener cannot be opened, the process that holds the port, and the cure."""
    path = unixsocket.unix_path(error)
    if path is not None:
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        more = unixsocket.socket_owner(path)
        return f"cannot listen on {path}: {reason}{more and '; '}{more}"
    where = (
        f"{error.interface or 'all addresses'} port {error.port}"
        if isinstance(error.port, int)
        else str(error.interface)
    )
    problem = error.socketError
    message = f"cannot listen on {where}: {getattr(problem, 'strerror', None) or problem}"
    if isinstance(error.port, int):
        held_by = port_owner(error.port)
        if held_by is not None:
            message += f"; it is held by {held_by}"
        elif isinstance(problem, PermissionError):
            message += "; ports below 1024 require CAP_NET_BIND_SERVICE"
    return message


def _same_name(old: Entrance, new: Entrance) -> bool:
    return old.name == new.name and _same_endpoint(old, new)


def _same_endpoint(old: Entrance, new: Entrance) -> bool:
    return old.endpoint == new.endpoint


def _close_early(sock: socket.socket, client: str) -> None:
    """The initial callback of an acceptor, which is replaced before it accepts."""
    sock.close()


def _where(address: tuple[str, int] | None, listener: Entrance) -> str:
    if address is None:
        return listener.endpoint.text
    return host_port(*address)
