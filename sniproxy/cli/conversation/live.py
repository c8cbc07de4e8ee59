"""A plaintext relay that records: clients connect to it in place of a broker.

A client follows the URLs of brokers in answers. The relay replaces them: each broker gets a port of its own here, so
that all connections of a client are recorded. The recording has the URLs that the broker sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IListeningPort,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from sniproxy.cli.conversation.output import ConversationFile, Output
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.brokers import WITH_URLS, is_proxied
from sniproxy.conversation.comparison import translate
from sniproxy.conversation.entry import EntryError, build, describe
from sniproxy.conversation.mapping import Mapping
from sniproxy.conversation.recorder import MAX_ANY_FRAME_BYTES, Recorder, Recording
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar.commands import CommandError, type_of
from sniproxy.pulsar.frames import Frame, FrameError, FrameReader, encode
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

CONNECT_TIMEOUT_S = 10.0
"""Seconds for a connection to the target."""

MAX_TARGETS = 64
"""Brokers that get a port."""

Target = tuple[str, int]


@attrs.define(eq=False)
class Relay:
    """What the connections of one recording share.

    @ivar recording: what is recorded. @ivar connections: the recording ends when this many have ended; None: no limit.
    @ivar keep_urls: leave the URLs of brokers as they are. @ivar done: fires at the end; fails with C{CommandFailed}.
    """

    reactor: IReactor
    output: Output
    recording: Recording
    report: Callable[[str], None]
    keep_urls: bool = False
    connections: int | None = None
    done: Deferred[None] = attrs.field(factory=Deferred)
    _ports: dict[Target, int] = attrs.field(factory=dict)
    _listening: list[IListeningPort] = attrs.field(factory=list)
    _open: set[ClientEnd] = attrs.field(factory=set)
    _ended: int = 0

    def listen_for(self, target: Target, port: int) -> None:
        """Clients of this target are accepted at a port."""
        self._ports[target] = port

    def factory(self, target: Target) -> RelayFactory:
        """Accepts the clients of a target."""
        return RelayFactory(self, target)

    def url_here(self, url: str, host: str) -> str:
        """The URL that a client gets in place of a broker's. @param host: the address that the client dialled."""
        try:
            service = parse_service_url(url)
        except BadServiceURL:
            return url
        if service.tls:
            return url
        target = service.hosts[0]
        if target not in self._ports:
            if len(self._ports) >= MAX_TARGETS:
                return url
            try:
                port = self.reactor.listenTCP(0, self.factory(target), interface=host)
            except CannotListenError as error:
                self.report(f"{host_port(*target)} is not relayed: {bounded(str(error))}")
                return url
            self._listening.append(port)
            address = port.getHost()
            assert isinstance(address, IPv4Address | IPv6Address)
            self._ports[target] = address.port
            self.report(f"{host_port(*target)} is relayed at {host_port(host, address.port)}")
        return f"pulsar://{host_port(host, self._ports[target])}"

    def begun(self, end: ClientEnd) -> None:
        """A client has connected."""
        self._open.add(end)

    def ended(self, end: ClientEnd) -> None:
        """A client and its target have been closed."""
        self._open.discard(end)
        self._ended += 1
        if self.connections is not None and self._ended >= self.connections:
            self.finish(None)

    def finish(self, failure: CommandFailed | None) -> None:
        """End the recording."""
        if not self.done.called:
            if failure is None:
                self.done.callback(None)
            else:
                self.done.errback(failure)

    def stop(self) -> None:
        """Close all ports and connections."""
        for port in self._listening:
            port.stopListening()
        for end in list(self._open):
            end.stop("the recording was stopped")


class RelayFactory(ServerFactory):
    """Accepts the clients of one target."""

    noisy = False

    def __init__(self, relay: Relay, target: Target) -> None:
        self._relay = relay
        self._target = target

    def buildProtocol(self, addr: IAddress | None) -> ClientEnd:
        return ClientEnd(self._relay, self._target)


class ClientEnd(Protocol):
    """The connection of a client; connects to the target."""

    def __init__(self, relay: Relay, target: Target) -> None:
        self._relay = relay
        self._target = target
        self._file: ConversationFile = relay.output.writer()
        self._recorder: Recorder | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._broker: BrokerEnd | None = None
        self._over = False
        self._peers = ""
        self._reader: FrameReader | None = FrameReader(MAX_ANY_FRAME_BYTES)

    def connectionMade(self) -> None:
        transport = cast(ITCPTransport, self.transport)
        transport.setTcpNoDelay(True)
        peer, broker = _text(transport.getPeer()), host_port(*self._target)
        self._peers = f"{peer} -> {broker}"
        started = datetime.now(UTC).isoformat()
        self._recorder = Recorder(peer, broker, started, self._relay.recording, self._file.write)
        self._relay.begun(self)
        cast(IPushProducer, transport).pauseProducing()
        factory = Factory.forProtocol(lambda: BrokerEnd(self))
        factory.noisy = False
        endpoint = HostEndpoint(self._relay.reactor, *self._target, CONNECT_TIMEOUT_S)
        connecting = self._connecting = endpoint.connect(factory)
        connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, broker: object) -> None:
        assert isinstance(broker, BrokerEnd)
        self._connecting = None
        if self._over:
            broker.stop()
            return
        self._broker = broker
        ours, theirs = cast(IPushProducer, self.transport), cast(IPushProducer, broker.transport)
        cast(ITCPTransport, theirs).setTcpNoDelay(True)
        cast(IConsumer, ours).registerProducer(theirs, True)
        cast(IConsumer, theirs).registerProducer(ours, True)
        ours.resumeProducing()

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not self._over:
            self._relay.report(f"cannot connect to {host_port(*self._target)}: {failure.getErrorMessage()}")
            self.stop("no connection to the broker")

    def dataReceived(self, data: bytes) -> None:
        if self._broker is not None:
            self._record("client", data)
            self._broker.send(data)

    def from_broker(self, data: bytes) -> None:
        """The broker has sent bytes."""
        self._record("broker", data)
        if not self._over:
            cast(ITCPTransport, self.transport).write(data if self._relay.keep_urls else self._with_urls_here(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.stop("client")

    def stop(self, how: str) -> None:
        """Close both connections. @param how: how the conversation ended."""
        if self._over:
            return
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
        _close(self)
        if self._broker is not None:
            self._broker.stop()
        recorder = self._recorder
        if recorder is not None:
            try:
                recorder.end(self._relay.reactor.seconds(), how)
            except CommandFailed as error:
                self._relay.finish(error)
            if recorder.how.startswith("not Pulsar"):
                self._relay.report(f"{self._peers}: {recorder.how}")
            self._file.end(recorder, self._peers)
        self._relay.ended(self)

    def _record(self, side: str, data: bytes) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.feed("client" if side == "client" else "broker", data, self._relay.reactor.seconds())
        except CommandFailed as error:
            self._relay.finish(error)

    def _with_urls_here(self, data: bytes) -> bytes:
        """The bytes for the client, with this relay's address in answers."""
        if self._reader is None:
            return data
        try:
            return b"".join(self._for_client(frame) for frame in self._reader.feed(data))
        except FrameError as error:
            # Not Pulsar: pass all bytes on unchanged.
            rest, self._reader = self._reader.rest, None
            return b"".join(self._for_client(frame) for frame in error.frames) + rest

    def _for_client(self, frame: Frame) -> bytes:
        host = cast(ITCPTransport, self.transport).getHost().host
        try:
            if type_of(frame.command) in WITH_URLS:
                entry = describe(frame)
                # A client that goes through a proxy stays with its address, and names the broker there.
                if not is_proxied(entry):
                    frame = build(translate(entry, Mapping(), lambda url: self._relay.url_here(url, host)))
        except (CommandError, EntryError):
            pass
        return encode(frame.command, frame.section)


class BrokerEnd(Protocol):
    """The connection to a target."""

    def __init__(self, client: ClientEnd) -> None:
        self._client = client

    def dataReceived(self, data: bytes) -> None:
        self._client.from_broker(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.stop("broker")

    def send(self, data: bytes) -> None:
        """Send bytes of the client."""
        cast(ITCPTransport, self.transport).write(data)

    def stop(self) -> None:
        """Close the connection after all bytes were sent."""
        _close(self)


def _close(end: Protocol) -> None:
    transport = cast(ITCPTransport, end.transport)
    # A transport with a producer would wait for it.
    cast(IConsumer, transport).unregisterProducer()
    transport.loseConnection()


def _text(address: IAddress) -> str:
    return host_port(address.host, address.port) if isinstance(address, IPv4Address | IPv6Address) else str(address)
