"""A worker's end of the channel through which its supervisor reaches the worker's admin site.

The channel is one end of a pair of sockets without names, which the worker inherits. For each request the supervisor
makes a further pair, and sends one end of it through the channel. So only the supervisor can reach the site.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Any, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReadDescriptor, IStreamServerEndpoint
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.util.reactor import IReactor

VARIABLE = "SNIPROXY_ADMIN"
"""The environment variable of a worker with the number of the channel's descriptor."""

DRAINS_VARIABLE = "SNIPROXY_DRAINS"
"""The environment variable of a worker with its drains: ``[[kind, name, rate], ...]`` as JSON."""

_MESSAGE = b"+"


def send_connection(channel: socket.socket, sock: socket.socket) -> None:
    """Send a socket through the supervisor's end of a channel. @raise OSError: the channel is closed or full."""
    socket.send_fds(channel, [_MESSAGE], [sock.fileno()])


def inherited(reactor: IReactor, environment: MutableMapping[str, str] = os.environ) -> ChannelEndpoint | None:
    """The endpoint of this worker's admin site; the first call only. @return: None if this process is no worker."""
    number, drains = environment.pop(VARIABLE, None), drains_from_environment(environment)
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return ChannelEndpoint(reactor, socket.socket(fileno=int(number)), drains)


def drains_from_environment(environment: MutableMapping[str, str] = os.environ) -> list[tuple[str, str, float]]:
    """The drains with which this worker starts: kind, name, tunnels per second. The first call only."""
    value = environment.pop(DRAINS_VARIABLE, None)
    return [] if value is None else [(kind, name, rate) for kind, name, rate in json.loads(value)]


@implementer(IStreamServerEndpoint)
class ChannelEndpoint:
    """Serves the connections that come through a channel. A port that has stopped leaves it open for the next one.

    @param drains: the kind, name and rate of each drain that begins when the site listens, before clients are accepted.
    """

    def __init__(
        self, reactor: IReactor, channel: socket.socket, drains: Sequence[tuple[str, str, float]] = ()
    ) -> None:
        channel.setblocking(False)
        self._reactor = reactor
        self._channel = channel
        self._drains = drains

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Serve connections by the factory's protocols. @param protocolFactory: with drains, an C{AdminSite}."""
        drains, self._drains = self._drains, ()
        for kind, name, rate in drains:
            cast(Any, protocolFactory).proxy.drain(name, rate, kind)
        port = ChannelPort(self._reactor, self._channel, protocolFactory)
        port.startListening()
        return succeed(port)


@implementer(IListeningPort, IReadDescriptor)
class ChannelPort:
    """Reads the connections of a L{ChannelEndpoint}."""

    def __init__(self, reactor: IReactor, channel: socket.socket, factory: Any) -> None:
        self._reactor = reactor
        self._channel = channel
        self._factory = factory
        self._listening = False

    def startListening(self) -> None:
        self._listening = True
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> None:
        if self._listening:
            self._listening = False
            self._reactor.removeReader(self)
            self._factory.doStop()

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(None)

    def fileno(self) -> int:
        return self._channel.fileno()

    def logPrefix(self) -> str:
        return "admin"

    def doRead(self) -> Exception | None:  # type: ignore[override]  # reactors take an exception
        try:
            message, numbers, _, _ = socket.recv_fds(self._channel, len(_MESSAGE), 1)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_DONE
        for number in numbers:  # none if this process has no descriptor left
            with socket.socket(fileno=number) as sock:
                sock.set_inheritable(False)
                sock.setblocking(False)
                self._reactor.adoptStreamConnection(number, socket.AF_UNIX, self._factory)
        return None if message else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """The supervisor has ended. Its orders' pipe says so, too."""
