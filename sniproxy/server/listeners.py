"""Opens, changes and closes the listening sockets."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Collection, Sequence
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
    """A listener of the current configuration.

    @ivar acceptor: None: it is closed, because no target of its route is up. @ivar address: the last bound one.
    """

    spec: ListenerSpec
    acceptor: Acceptor | None
    address: tuple[str, int] | None
    accepted: Accepted

    @property
    def listener(self) -> Entrance:
        return self.spec.listener


class Listeners:
    """All listening sockets.

    @param must_wait: returns why no connection may be accepted now. None: one may.
    @param keeper: keeps TCP sockets for the next process. None: they are not kept.
    """

    def __init__(
        self, reactor: IReactor, must_wait: Callable[[], str | None], keeper: SocketKeeper | None = None
    ) -> None:
        self._reactor = reactor
        self._keeper = keeper
        self._must_wait = must_wait
        self._open: list[_Open] = []
        self._closing: list[Any] = []
        self._failed: set[str] = set()
        self._held = False

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """The bound addresses of TCP listeners, by listener name."""
        return {one.listener.name: one.address for one in self._open if one.address is not None}

    @property
    def closed(self) -> frozenset[str]:
        """The names of listeners that L{follow} has closed."""
        return frozenset(one.listener.name for one in self._open if one.acceptor is None)

    @property
    def sockets(self) -> list[tuple[str, socket.socket]]:
        """The listening sockets, each behind the text of its endpoint."""
        return [(one.listener.endpoint.text, one.acceptor.sock) for one in self._open if one.acceptor is not None]

    def hold(self) -> None:
        """Accept no connections until L{release}. Clients wait in the backlogs."""
        self._held = True
        for one in self._open:
            if one.acceptor is not None:
                one.acceptor.hold()

    def release(self) -> None:
        """Accept again after L{hold}."""
        self._held = False
        for one in self._open:
            if one.acceptor is not None:
                one.acceptor.release()

    def hand_over(self, taken: Collection[socket.socket]) -> None:
        """Close all listeners, because another process listens.

        @param taken: the sockets that it uses. Connections in the backlogs of all others are still accepted here.
        """
        for one in self._open:
            if one.acceptor is not None and one.acceptor.sock in taken:
                one.acceptor.hand_over()
            else:
                self._stop(one)
        if self._open:
            end_watch_of(self._reactor).allow_close()
        self._open = []

    def follow(self, why_closed: Callable[[Entrance], str | None]) -> None:
        """Close listeners whose port must refuse connections, and open those again whose port must not.

        A listener that cannot be opened again is tried at the next call.

        @param why_closed: returns the reason to close a listener. None: it is open.
        """
        self._open = [self._followed(one, why_closed(one.listener)) for one in self._open]

    def _followed(self, one: _Open, why: str | None) -> _Open:
        name = one.listener.name
        if why is not None and one.acceptor is not None:
            self._stop(one)
            log.warn("listener {name}: closed: {why}", name=name, why=why)
            return attrs.evolve(one, acceptor=None)
        if why is not None or one.acceptor is not None:
            return one
        try:
            acceptor = self._opened(one.spec, ())
        except CannotListenError as error:
            if name not in self._failed:
                self._failed.add(name)
                log.error("listener {name}: {why}; retrying", name=name, why=why_not_listening(error))
            return one
        self._failed.discard(name)
        self._begin(acceptor, one.listener, one.accepted)
        log.warn("listener {name}: open again", name=name)
        return attrs.evolve(one, acceptor=acceptor, address=acceptor.address)

    def _begin(self, acceptor: Acceptor, listener: Entrance, accepted: Accepted) -> None:
        acceptor.name, acceptor.accepted = listener.name, accepted
        acceptor.defer(isinstance(listener, Listener) and listener.deferred_accept)
        if self._held:
            acceptor.hold()

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
        kept: dict[str, _Open] = {}
        for same in (_same_name, _same_endpoint):
            for one in wanted:
                if one.listener.name in kept:
                    continue
                found = next((old for old in left if same(old.listener, one.listener)), None)
                if found is not None:
                    left.remove(found)
                    if found.acceptor is not None or _may_close(one.listener):
                        kept[one.listener.name] = found
        now = []
        for one in wanted:
            before = kept.get(one.listener.name)
            if before is None:
                acceptor = self._opened(one, left)
                undo.callback(acceptor.close)
                before = _Open(one, acceptor, acceptor.address, _close_early)
            now.append(attrs.evolve(before, spec=one))

        def change(accepting: Callable[[Entrance], Accepted]) -> None:
            for old in left:
                # Connections in its backlog are still accepted, with the previous configuration.
                self._stop(old)
                log.info("listener {name}: closed", name=old.listener.name)
            if not self._open:
                end_watch_of(self._reactor).keep_open()
            self._open = [attrs.evolve(one, accepted=accepting(one.listener)) for one in now]
            for one in self._open:
                if one.acceptor is None:
                    continue
                self._begin(one.acceptor, one.listener, one.accepted)
                if one.listener.name not in kept:
                    if self._keeper is not None and _outlives(one.listener):
                        self._keeper.keep(one.listener.endpoint.text, one.acceptor.sock)
                    where = _where(one.address, one.listener)
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
        if one.acceptor is None:
            return
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
            if listener.endpoint.shared:  # a process without workers may have bound it
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
        except (NoSocket, OSError) as error:
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


def _outlives(listener: Entrance) -> bool:
    """Whether the socket may stay open if this process ends: TCP, and not to be closed when no target is up."""
    return listener.endpoint.port is not None and not _may_close(listener)


def _may_close(listener: Entrance) -> bool:
    return isinstance(listener, Listener) and listener.closed_when_down is not None


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
