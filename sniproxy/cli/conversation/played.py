"""Listens as the brokers of a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol

from sniproxy.cli.conversation.playing import PlayingProtocol
from sniproxy.cli.failure import CommandFailed
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded


class _Refusing(Protocol):
    """A connection that no file is left for."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class _BrokerFactory(Factory):
    """Hands each connection to one broker the next file of that broker.

    @ivar waiting: what is played next, in order. @ivar further: connections that no file was left for.
    """

    noisy = False

    def __init__(self, begun: Callable[[PlayingProtocol], None]) -> None:
        """@param begun: called with what a connection plays."""
        self.waiting: deque[PlayingProtocol] = deque()
        self.further = 0
        self._begun = begun

    def buildProtocol(self, addr: object) -> Protocol:
        if not self.waiting:
            self.further += 1
            return _Refusing()
        playing = self.waiting.popleft()
        self._begun(playing)
        return playing


def beside(text: str) -> str:
    """The endpoint with a port that the system chooses, as C{ssl:0:privateKey=key.pem} for C{ssl:7651:...}."""
    kind, *parts = text.split(":")
    named = [at for at, part in enumerate(parts) if part.startswith("port=")]
    del parts[named[0] if named else 0]
    return ":".join([kind, "0", *parts])


class PlayedBrokers:
    """Plays brokers, each at an address of its own, to the clients that connect.

    @param text: the endpoint of the first one.
    @ivar urls: where each broker is played, by its recorded address; None: no URL leads there.
    """

    def __init__(self, text: str, reactor: IReactor) -> None:
        self._begun: list[PlayingProtocol] = []
        self.urls: dict[str, str | None] = {}
        self._reactor = reactor
        self._text = text
        self._factories: dict[str, _BrokerFactory] = {}
        self._ports: list[IListeningPort] = []
        self._awaited: Deferred[None] = Deferred()

    @property
    def further(self) -> int:
        """Connections that no file was left for."""
        return sum(factory.further for factory in self._factories.values())

    async def open(self, broker: str) -> None:
        """Listen for the clients of a broker: the first at the endpoint, others beside it.

        @param broker: its recorded address. @raise CommandFailed: the endpoint cannot listen.
        """
        text = beside(self._text) if self._factories else self._text
        self._factories[broker] = factory = _BrokerFactory(self._has_begun)
        try:
            port = await serverFromString(self._reactor, text).listen(factory)
        except Exception as problem:
            raise CommandFailed(f"cannot listen on {bounded(text)}: {bounded(str(problem))}") from None
        self._ports.append(port)
        address = port.getHost()
        if isinstance(address, IPv4Address | IPv6Address):
            scheme = "pulsar+ssl" if text.startswith("ssl:") else "pulsar"
            self.urls[broker] = f"{scheme}://{host_port(address.host, address.port)}"
        else:
            self.urls[broker] = None

    def put(self, broker: str, playing: PlayingProtocol) -> None:
        """The next client of a broker gets this."""
        self._factories[broker].waiting.append(playing)

    async def begins(self, playing: PlayingProtocol, seconds: float) -> None:
        """Wait until a client has connected and gets this.

        @param seconds: the most between two connections. @raise TimeoutError: no further client has connected in time.
        """
        while playing not in self._begun:
            await self._awaited.addTimeout(seconds, self._reactor)

    def close(self) -> None:
        """Close all ports and connections."""
        for port in self._ports:
            port.stopListening()
        for one in self._begun:
            one.stop()

    def _has_begun(self, playing: PlayingProtocol) -> None:
        self._begun.append(playing)
        awaited, self._awaited = self._awaited, Deferred()
        awaited.callback(None)
