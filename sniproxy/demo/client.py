"""A tiny PIP-60 client: one message there and back, through both phases, and nothing else.

PIP-60 ("Support Proxy server with SNI routing"): the client dials the proxy for every connection, and says in the
TLS server name which broker it means. It first connects to the service name and asks who owns the topic (the
lookup phase), then to the owner (the connect phase). No broker's name is ever resolved.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

from attrs import frozen
from google.protobuf.message import Message
from twisted.internet import protocol, ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTCP, ITCPTransport
from twisted.python.failure import Failure

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, read, type_name, write
from sniproxy.pulsar.frames import Frame, FrameError, FrameReader, encode_section, read_section

_CONNECT_SECONDS = 10
_VERSION = "sniproxy-demo"


@frozen
class Connected:
    """A TLS connection stands, its certificate verified for `server_name`.

    ``answered``: who the broker says it is.
    """

    server_name: str
    answered: str


@frozen
class Found:
    """The lookup's answer: the owner's URL."""

    topic: str
    url: str


@frozen
class Published:
    """The owner has stored the message, as this ledger and entry."""

    ledger: int
    entry: int


@frozen
class ReadBack:
    """The message came back."""

    payload: bytes


Step = Connected | Found | Published | ReadBack


class VisitFailed(Exception):
    """The visit could not go on; the message says where and why."""


class Session(protocol.Protocol):
    """One connection with a broker; one question at a time."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reader = FrameReader()
        self._arrived: deque[Frame] = deque()
        self._waiting: Deferred[None] | None = None
        self._why_ended: str | None = None

    def dataReceived(self, data: bytes) -> None:
        try:
            self._arrived += self._reader.feed(data)
        except FrameError as error:
            self._end(str(error))
        self._wake()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._why_ended = self._why_ended or reason.getErrorMessage()
        self._wake()
        self.ended.callback(None)

    def close(self) -> Deferred[None]:
        """End the connection in order; fires when it has ended."""
        self._end("closed by this client")
        return self.ended

    def abort(self) -> None:
        """End the connection at once, whatever the peer does."""
        cast(ITCPTransport, self.transport).abortConnection()

    def say(self, message: Message, section: bytes = b"") -> None:
        """Send one command."""
        assert self.transport is not None
        self.transport.write(write(message, section))

    async def hear(self, kind: pb.BaseCommand.Type) -> tuple[pb.BaseCommand, bytes]:
        """The next command, which has to be of this kind, and its payload section.

        PINGs are answered on the way. Raises `VisitFailed` for any other command and when the connection ends.
        """
        while True:
            frame = await self._next()
            try:
                command = read(frame.command)
            except CommandError as error:
                raise VisitFailed(str(error)) from error
            if command.type == kind:
                return command, frame.section
            if command.type == pb.BaseCommand.ERROR:
                raise VisitFailed(f"the broker says: {command.error.message}")
            if command.type != pb.BaseCommand.PING:
                raise VisitFailed(f"{type_name(command)} came instead of {pb.BaseCommand.Type.Name(kind)}")
            self.say(pb.CommandPong())

    async def _next(self) -> Frame:
        while not self._arrived:
            if self._why_ended is not None:
                raise VisitFailed(f"the connection ended: {self._why_ended}")
            self._waiting = Deferred()
            await self._waiting
        return self._arrived.popleft()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _end(self, why: str) -> None:
        assert self.transport is not None
        self._why_ended = self._why_ended or why
        self.transport.loseConnection()


class Visitor:
    """A client that trusts one authority and dials one proxy; ``tell`` hears of each step."""

    def __init__(
        self, reactor: IReactorTCP, proxy: tuple[str, int], authority_pem: bytes, tell: Callable[[Step], None]
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority_pem)])
        self._tell = tell

    async def look_up(self, service_name: str, topic: str) -> str:
        """The lookup phase: ask any broker behind the service name for the topic's owner; return its URL.

        Raises `VisitFailed`, and what Twisted raises when the proxy cannot be dialled.
        """
        async with self._session(service_name) as session:
            session.say(pb.CommandPartitionedTopicMetadata(topic=topic, request_id=1))
            await session.hear(pb.BaseCommand.PARTITIONED_METADATA_RESPONSE)
            session.say(pb.CommandLookupTopic(topic=topic, request_id=2, authoritative=False))
            command, _ = await session.hear(pb.BaseCommand.LOOKUP_RESPONSE)
            answer = command.lookupTopicResponse
            if answer.response != pb.CommandLookupTopicResponse.Connect:
                raise VisitFailed(f"the lookup of {topic} did not name an owner")
            self._tell(Found(topic, answer.brokerServiceUrlTls))
        return answer.brokerServiceUrlTls

    async def there_and_back(self, url: str, topic: str, payload: bytes) -> None:
        """The connect phase: publish one message on the topic's owner, and read it back.

        Raises `VisitFailed`, and what Twisted raises when the proxy cannot be dialled.
        """
        async with self._session(urlsplit(url).hostname or url) as session:
            # The subscription first: it begins with what is published from now on.
            session.say(
                pb.CommandSubscribe(
                    topic=topic,
                    subscription="tour",
                    subType=pb.CommandSubscribe.Exclusive,
                    consumer_id=1,
                    request_id=1,
                    initialPosition=pb.CommandSubscribe.Latest,
                )
            )
            await session.hear(pb.BaseCommand.SUCCESS)
            session.say(pb.CommandProducer(topic=topic, producer_id=1, request_id=2))
            command, _ = await session.hear(pb.BaseCommand.PRODUCER_SUCCESS)
            metadata = pb.MessageMetadata(
                producer_name=command.producer_success.producer_name,
                sequence_id=0,
                publish_time=int(time.time() * 1000),
            )
            section = encode_section(metadata.SerializeToString(), payload)
            session.say(pb.CommandSend(producer_id=1, sequence_id=0), section)
            command, _ = await session.hear(pb.BaseCommand.SEND_RECEIPT)
            where = command.send_receipt.message_id
            self._tell(Published(where.ledgerId, where.entryId))
            session.say(pb.CommandFlow(consumer_id=1, messagePermits=1))
            command, section = await session.hear(pb.BaseCommand.MESSAGE)
            got = bytes(read_section(section).payload)
            if (command.message.message_id, got) != (where, payload):
                raise VisitFailed("another message came back than was published")
            self._tell(ReadBack(got))
            ack = pb.CommandAck(consumer_id=1, ack_type=pb.CommandAck.Individual, message_id=[where])
            session.say(ack)

    @asynccontextmanager
    async def _session(self, server_name: str) -> AsyncIterator[Session]:
        """A connection on which CONNECT has been answered; closed in order, or at once after a failure."""
        # service-identity checks the broker's certificate for the name that goes into SNI.
        tls = ssl.optionsForClientTLS(server_name, trustRoot=self._trust)
        proxy = TCP4ClientEndpoint(self._reactor, *self._proxy, timeout=_CONNECT_SECONDS)
        try:
            session = await wrapClientTLS(tls, proxy).connect(protocol.Factory.forProtocol(Session))
        except ConnectingCancelledError:
            # One word for whoever cancels a visit, wherever in it that happens.
            raise CancelledError from None
        assert isinstance(session, Session)
        try:
            session.say(pb.CommandConnect(client_version=_VERSION, protocol_version=20))
            command, _ = await session.hear(pb.BaseCommand.CONNECTED)
            self._tell(Connected(server_name, command.connected.server_version))
            yield session
            await session.close()
        except VisitFailed as error:
            session.abort()
            raise VisitFailed(f"{server_name}: {error}") from error
        except BaseException:
            session.abort()
            raise
