"""The old process of an upgrade, as the new one sees it: its offer, its sockets, and the commit."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from twisted.logger import Logger

from sniproxy.admin.upgrades import OldProcess
from sniproxy.net.reuseport import SocketKeeper
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.channel import ENDED, Channel, close_all, receive
from sniproxy.server.upgrade.messages import BadMessage, Message
from sniproxy.server.upgrade.program import CHANNEL, descriptors_from, end_capture
from sniproxy.server.upgrade.receiver import Adopt, TunnelReceiver
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()

_WAITS, _ACCEPTS, _DONE = range(3)
"""States: it waits for the commit; it accepts, and the old process does not know it yet; the matter is settled."""

OFFER_TIMEOUT_S = 30.0
"""Seconds to wait for the old process's sockets, at the start."""


class NoOffer(Exception):
    """The old process does not offer what this program can take. The message says why."""


class Predecessor:
    """The old process, until this one is in charge. It is a L{SocketKeeper}: it keeps the old process's listeners.

    @param keeper: keeps sockets for a later process. None: they are not kept.
    @param offered: which process to name to the old one, and sockets that it uses.
    """

    def __init__(
        self,
        sock: socket.socket,
        standard_error: int,
        offer: messages.Offer,
        version: int,
        sockets: list[tuple[messages.Socket, socket.socket]],
        keeper: SocketKeeper | None,
        offered: messages.Offered,
    ) -> None:
        self._sock = sock
        self._pid = offered.pid
        self._standard_error = standard_error
        self._offer = offer
        self._version = version
        self._sockets = sockets
        self._taken = list(offered.taken)
        self._keeper = keeper
        self._state = _WAITS

    # A keeper of listening sockets

    def take(self, endpoint: str) -> socket.socket | None:
        """The old process's socket for a listener. None: it has none."""
        return self._take(endpoint, False) or (None if self._keeper is None else self._keeper.take(endpoint))

    def take_admin(self, endpoint: str) -> socket.socket | None:
        """The old process's socket for the admin endpoint. None: it has none."""
        return self._take(endpoint, True)

    def keep(self, endpoint: str, sock: socket.socket) -> None:
        """See L{SocketKeeper.keep}."""
        if self._keeper is not None:
            self._keeper.keep(endpoint, sock)

    def forget(self, endpoint: str) -> None:
        """See L{SocketKeeper.forget}."""
        if self._keeper is not None:
            self._keeper.forget(endpoint)

    def forget_rest(self) -> None:
        """Close sockets that the configuration does not use."""
        while self._sockets:
            self._sockets.pop()[1].close()
        if self._keeper is not None:
            self._keeper.forget_rest()

    def _take(self, endpoint: str, admin: bool) -> socket.socket | None:
        for place, (told, sock) in enumerate(self._sockets):
            if (told.endpoint, told.admin) == (endpoint, admin):
                del self._sockets[place]
                self._taken.append(told.number)
                return sock
        return None

    # The upgrade

    def refuse(self, why: str) -> None:
        """This program cannot start, so the old process continues."""
        with suppress(OSError):
            self._sock.send(messages.encode(messages.Refused(why)))

    def begin(
        self,
        reactor: IReactor,
        adopt: Adopt,
        accept: Callable[[messages.Commit | None], None],
        in_charge: Callable[[], None],
        abort: Callable[[], None],
        inherit: Callable[[messages.Inherited, socket.socket], None],
    ) -> TunnelReceiver:
        """All listeners are open, and accept nothing yet: take the tunnels.

        @param adopt: called with each tunnel.
        The system decides which process is in charge: this one if C{committed} could be sent. Before the old one
        continues, it closes its reading side, so that C{committed} can no longer be sent.

        @param accept: called to accept connections. Its argument is None if the old process has ended before.
        @param in_charge: called after that, when the old process cannot continue.
        @param abort: called if this process must not be in charge, possibly after C{accept}: it keeps only the
            connections that it has.
        @param inherit: called with each older process, and this end of the channel to it.
        """

        committing: messages.Commit | None = None

        def others(message: Message, descriptors: list[int]) -> None:
            nonlocal committing
            if isinstance(message, messages.Inherited) and descriptors:
                inherit(message, socket.socket(fileno=descriptors[0]))
                return
            close_all(descriptors)
            if isinstance(message, messages.Commit) and committing is None:
                committing = message
                # If this process was stopped for long, the old one has given up, and its "aborted" has arrived, too.
                reactor.callLater(0, take_over, message)
            elif isinstance(message, messages.Aborted):
                give_up()
            elif not isinstance(message, messages.Inherited):
                receiver.fail(f"unexpected message: {type(message).__name__}")

        def take_over(message: messages.Commit | None) -> None:
            if self._state == _WAITS:
                self._state = _ACCEPTS
                accept(message)
                # Not sent: the old process has given up, and its "aborted" follows; or it has ended.
                receiver.send(messages.Committed(), sent=settle)

        def settle() -> None:
            if self._state == _ACCEPTS:
                self._take_over(receiver)
                in_charge()

        def lost(why: str) -> None:
            if self._state == _DONE:
                return
            log.warn("process {pid} failed during the upgrade: {why}", pid=self._offer.pid, why=why)
            if why == ENDED:
                take_over(committing)
                settle()
            else:
                give_up()

        def give_up() -> None:
            if self._state != _DONE:
                self._state = _DONE
                end_capture(self._standard_error)
                abort()

        old = OldProcess(self._offer.pid, self._offer.tunnels)
        receiver = TunnelReceiver(reactor, self._sock, old, self._version, adopt, others, lost)
        pid = self._pid or os.getpid()  # a daemon has another one than when it read the offer
        receiver.send(messages.Ready(self._version, pid, tuple(self._taken)))
        return receiver

    # The upgrade, if this process is a supervisor, whose first worker takes over

    def pass_on(self, reactor: IReactor, sock: socket.socket) -> None:
        """Let a worker of this process take over: pass the offer on, and the channel to the old process.

        @param sock: the channel to the worker.
        """
        channel = Channel(reactor, sock, lambda message, descriptors: close_all(descriptors), lambda why: None)
        channel.send(self._offer)
        for told, listening in self._sockets:
            if not told.admin:
                channel.send(told, listening.fileno())
        channel.send(messages.Offered(os.getpid(), tuple(self._taken)), self._sock.fileno())

    def finish(self) -> None:
        """The worker is in charge: write to the real standard error, and close all sockets but the channel's."""
        end_capture(self._standard_error)
        self.forget_rest()

    def close(self) -> None:
        """Close this process's descriptors of the channel and of all sockets."""
        self.forget_rest()
        self._sock.close()

    def _take_over(self, receiver: TunnelReceiver) -> None:
        self._state = _DONE
        end_capture(self._standard_error)
        tunnels = counted(receiver.adopted, "tunnel")
        log.info("took over from process {pid}: {tunnels}", pid=self._offer.pid, tunnels=tunnels)


def read_offer(keeper: SocketKeeper | None, environment: MutableMapping[str, str] = os.environ) -> Predecessor | None:
    """The process that this one replaces; the first call only. None: there is none.

    It waits for the old process's offer.

    @param keeper: see L{Predecessor}.
    @raise NoOffer: the offer does not come, or this program cannot take it.
    """
    try:
        descriptors = descriptors_from(environment)
        if descriptors is None:
            return None
        sock = socket.socket(fileno=descriptors[0])
        sock.settimeout(OFFER_TIMEOUT_S)
    except (ValueError, OSError) as error:
        raise NoOffer(f"{CHANNEL}: no upgrade has set this environment variable; unset it ({error})") from error
    try:
        offer, sockets, offered, passed = _receive_offer(sock)
        version = _common_version(offer)
    except (OSError, BadMessage) as error:
        with suppress(OSError):
            sock.send(messages.encode(messages.Refused(str(error))))
        sock.close()
        raise NoOffer(f"upgrade: {error}") from error
    if passed is not None:
        sock.close()
        sock = passed
    return Predecessor(sock, descriptors[1], offer, version, sockets, keeper, offered)


def _common_version(offer: messages.Offer) -> int:
    for version in messages.VERSIONS:
        if version in offer.versions:
            return version
    known = " or ".join(map(str, messages.VERSIONS))
    theirs = ", ".join(map(str, offer.versions)) or "none"
    raise BadMessage(
        f"this program speaks version {known} of the upgrade protocol, the running sniproxy {offer.release} speaks "
        f"{theirs}; restart instead"
    )


def _receive_offer(
    sock: socket.socket,
) -> tuple[messages.Offer, list[tuple[messages.Socket, socket.socket]], messages.Offered, socket.socket | None]:
    """@return: behind the offer and its sockets, the end of the offer, and the channel that comes with it.

    @raise OSError: it does not come. @raise BadMessage: it is none.
    """
    offer, sockets = None, []
    while True:
        message, descriptors = receive(sock)
        if isinstance(message, messages.Socket) and descriptors:
            sockets.append((message, socket.socket(fileno=descriptors[0])))
        elif isinstance(message, messages.Offer):
            offer = message
            _common_version(offer)
        elif isinstance(message, messages.Offered) and offer is not None:
            return offer, sockets, message, socket.socket(fileno=descriptors[0]) if descriptors else None
        else:
            close_all(descriptors)
            raise BadMessage("the old process has ended" if message is None else "the old process makes no offer")
