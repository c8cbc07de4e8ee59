"""Listening sockets that outlive a worker: the supervisor keeps a copy of each and passes it to the next worker.

The kernel gives each socket of a shared port (C{SO_REUSEPORT}) a backlog of its own. When a worker is killed, its
backlog stays with the supervisor's copy, and the restarted worker accepts the clients in it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.net.synfilter import welcome_new
from sniproxy.server.workers.handover import Sockets
from sniproxy.util.reactor import IReactor

VARIABLE = "SNIPROXY_SOCKETS"
"""The environment variable of a worker's channel and kept sockets: ``[descriptor, {endpoint: descriptor}]`` as JSON."""

available = sys.platform == "linux"
"""Whether sockets are kept. Elsewhere the clients in a killed worker's backlog get a reset."""

KEEP_SOCKETS_S = 2.0
"""The longest pause, in seconds, for which a dead worker's sockets are kept. After it other workers get its clients."""

_KEEP, _FORGET, _GIVE = b"+", b"-", b"="

_MAX_MESSAGE_BYTES = 1 << 16


class SocketChannel:
    """A worker's end, which passes its listening sockets on. See L{sniproxy.net.reuseport.SocketKeeper}.

    It never waits for the supervisor. A message is lost if the channel is full, which takes hundreds of listeners.
    """

    def __init__(self, channel: socket.socket, kept: Mapping[str, int]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._kept = {endpoint: socket.socket(fileno=number) for endpoint, number in kept.items()}

    def take(self, endpoint: str) -> socket.socket | None:
        """The predecessor's socket for an endpoint. @return: None if there is none."""
        sock = self._kept.pop(endpoint, None)
        if sock is not None:
            welcome_new(sock)  # the predecessor may have been killed while it stopped
        return sock

    def keep(self, endpoint: str, sock: socket.socket) -> None:
        """Send the supervisor a copy. It replaces an earlier one for this endpoint."""
        with suppress(OSError):  # the supervisor has ended
            socket.send_fds(self._channel, [_KEEP + endpoint.encode()], [sock.fileno()])

    def receive(self) -> socket.socket:
        """The socket that the supervisor has sent (L{KeptSockets.send}). @raise OSError: there is none."""
        _, numbers, _, _ = socket.recv_fds(self._channel, 1, 1)
        if not numbers:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        os.set_inheritable(numbers[0], False)  # recv_fds of Python 3.11 does not pass its flags on
        return socket.socket(fileno=numbers[0])

    def forget(self, endpoint: str) -> None:
        """Let the supervisor close its copy."""
        with suppress(OSError):
            self._channel.send(_FORGET + endpoint.encode())

    def forget_rest(self) -> None:
        """Close kept sockets that were not taken, because the configuration has no such listener any more."""
        while self._kept:
            endpoint, sock = self._kept.popitem()
            sock.close()
            self.forget(endpoint)


@implementer(IReadDescriptor)
class KeptSockets:
    """The supervisor's copies of the listening sockets of one worker and its successors."""

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._channel: socket.socket | None = None
        self._number = -1
        self._sockets: dict[str, socket.socket] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    def open_channel(self, first: int) -> tuple[dict[str, str], dict[int, int], socket.socket]:
        """Open a channel to a worker that is about to be started.

        @param first: the lowest free descriptor number in the worker.
        @return: variables for the worker's environment; its descriptors, by their number in the worker; the worker's
            end of the channel, which the caller closes once the worker is started.
        """
        self.close_channel()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        self._number = self._channel.fileno()
        self._reactor.addReader(self)
        numbers = dict(enumerate((sock.fileno() for sock in self._sockets.values()), first + 1))
        kept = dict(zip(self._sockets, numbers, strict=True))
        return {VARIABLE: json.dumps([first, kept])}, {first: theirs.fileno(), **numbers}, theirs

    def send(self, sock: socket.socket) -> None:
        """Send the worker a socket. @raise OSError: it has ended."""
        if self._channel is None:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        socket.send_fds(self._channel, [_GIVE], [sock.fileno()])

    def hand_over(self) -> Sockets:
        """The descriptors, for the program that replaces this one."""
        channel = None if self._channel is None else self._channel.fileno()
        return Sockets(channel, {endpoint: sock.fileno() for endpoint, sock in self._sockets.items()})

    def adopt(self, sockets: Sockets) -> None:
        """Use the descriptors of the program before this one."""
        for number in (*sockets.kept.values(), *(() if sockets.channel is None else (sockets.channel,))):
            os.set_inheritable(number, False)
        self._sockets = {endpoint: socket.socket(fileno=number) for endpoint, number in sockets.kept.items()}
        if sockets.channel is not None:
            self._channel = socket.socket(fileno=sockets.channel)
            self._channel.setblocking(False)
            self._number = sockets.channel
            self._reactor.addReader(self)

    def close_channel(self) -> None:
        """Read the last messages of a worker that has exited, and close the channel."""
        while self._read():
            pass
        if self._channel is not None:
            self._reactor.removeReader(self)
            self._channel.close()
            self._channel = None

    def release(self) -> None:
        """Close all copies. Clients in their backlogs get a reset if no worker has the socket."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    def fileno(self) -> int:
        return self._number

    def logPrefix(self) -> str:
        return "worker's sockets"

    def doRead(self) -> Exception | None:  # type: ignore[override]  # reactors take an exception
        return None if self._read() else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """The worker has exited; L{close_channel} follows."""

    def _read(self) -> bool:
        """Read one message. @return: whether there was one."""
        if self._channel is None:
            return False
        try:
            message, numbers, _, _ = socket.recv_fds(self._channel, _MAX_MESSAGE_BYTES, 1)
        except OSError:
            return False
        endpoint = message[1:].decode()
        before = self._sockets.pop(endpoint, None)
        if before is not None:
            before.close()
        for number in numbers:  # empty for a "forget" message, or if no descriptor was left
            self._sockets[endpoint] = socket.socket(fileno=number)
        return bool(message)


def from_environment(environment: MutableMapping[str, str] = os.environ) -> SocketChannel | None:
    """The channel to the supervisor; the first call only. @return: None if there is none."""
    value = environment.pop(VARIABLE, None)
    if value is None:
        return None
    channel, kept = json.loads(value)
    for number in (channel, *kept.values()):
        os.set_inheritable(number, False)
    return SocketChannel(socket.socket(fileno=channel), kept)
