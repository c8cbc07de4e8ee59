"""The connection of one client to an embedded broker: login, keep-alive, faults, and which command goes where."""

from __future__ import annotations

from collections.abc import Callable
from socket import SHUT_WR
from typing import Any

from attrs import frozen
from google.protobuf.message import Message
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, fields_of, read, type_name, write
from sniproxy.pulsar.frames import FrameError, FrameReader
from sniproxy.testing.pulsar import consumers, lookups, producers, schemas
from sniproxy.testing.pulsar.commandlog import CommandLog, ReceivedCommand
from sniproxy.testing.pulsar.faults import SENT_BY_BROKERS, Action, BrokerFault, BrokerFaults, refusal
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of, require_texts
from sniproxy.testing.pulsar.session import ClientSession
from sniproxy.testing.pulsar.state import ClusterState, RequestError

#: Seconds between two PINGs; the default of real brokers.
KEEP_ALIVE_S = 30.0

#: Maximum commands of a connection that faults delay.
MAX_DELAYED = 10_000

_MAX_MESSAGE_BYTES = 5 * 1024 * 1024
_PROTOCOL_VERSION = 20
_AUTH_DATA = {pb.CommandConnect: 3, pb.CommandAuthResponse: 2}
_REFRESH = b"PulsarAuthRefresh"  # what Java clients wait for

_NAMES = {
    field.message_type.full_name: pb.BaseCommand.Type.Name(field.number)
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}

#: Of the commands of clients that need no knowledge of the connection.
_HANDLERS: dict[str, Callable[[ClientSession, Any], None]] = {
    "PARTITIONED_METADATA": lookups.answer_partitions,
    "LOOKUP": lookups.answer_lookup,
    "GET_TOPICS_OF_NAMESPACE": lookups.answer_topics,
    "PRODUCER": producers.open_producer,
    "CLOSE_PRODUCER": producers.close_producer,
    "SUBSCRIBE": consumers.subscribe,
    "FLOW": consumers.flow,
    "ACK": consumers.acknowledge,
    "REDELIVER_UNACKNOWLEDGED_MESSAGES": consumers.redeliver,
    "SEEK": consumers.seek,
    "GET_LAST_MESSAGE_ID": consumers.answer_last_id,
    "CLOSE_CONSUMER": consumers.close_consumer,
    "UNSUBSCRIBE": consumers.unsubscribe,
    "GET_SCHEMA": schemas.answer_get,
    "GET_OR_CREATE_SCHEMA": schemas.answer_create,
}


@frozen(eq=False)
class BrokerContext:
    """What the connections of a broker share. ``report(command, subject)`` reports what the broker does."""

    name: str
    cluster: ClusterState
    clock: IReactorTime
    commands: CommandLog
    faults: BrokerFaults
    report: Callable[[str, str], None]
    connections: set[EmbeddedConnection]
    keep_alive_s: float = KEEP_ALIVE_S


@implementer(IPushProducer)
class EmbeddedConnection(protocol.Protocol):
    """The connection of one client to a broker.

    ``client``: its address and port. ``client_version``, ``protocol_version`` and ``auth_method``: of its CONNECT;
    empty or 0 before it. ``auth_data``: its last credentials, such as the token. ``ended``: fires when it is closed.
    """

    _log = Logger()

    def __init__(self, broker: BrokerContext, client: str) -> None:
        self.client = client
        self.client_version = ""
        self.protocol_version = 0
        self.auth_method = ""
        self.auth_data = b""
        self.ended: Deferred[None] = Deferred()
        self._broker = broker
        self._reader = FrameReader()
        self._connected = False
        self._closing = False
        self._write_closed = False
        self._stopped_reading = False
        self._writable = True
        self._paused = False
        self._received = True
        self._topic: str | None = None
        self._delayed: set[IDelayedCall] = set()
        self.session = ClientSession(
            broker.name, broker.cluster, client, self._send, broker.report, lambda: self._writable
        )
        self._keep_alive = LoopingCall(self._ping)
        self._keep_alive.clock = broker.clock

    def connectionMade(self) -> None:
        self._broker.connections.add(self)
        self._keep_alive.start(self._broker.keep_alive_s, now=False)
        self._socket.registerProducer(self, True)
        self._update_reading()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._closing = True
        self._keep_alive.stop()
        for call in self._delayed:
            call.cancel()
        self._delayed.clear()
        self._broker.connections.discard(self)
        self.session.end()
        if self._connected:
            self._broker.report("closed", self.client)
        self.ended.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._received = True
        try:
            for frame in self._reader.each(data):
                if self._closing:
                    return
                self._receive(read(frame.command), frame.section)
        except (FrameError, CommandError) as error:
            self._drop(str(error))

    def pauseProducing(self) -> None:
        """The client does not read: deliver no messages, and read no commands whose answers would pile up."""
        self._writable = False
        self._update_reading()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._writable = True
        self._update_reading()
        for _, subscription, _ in list(self.session.consumers.values()):
            subscription.dispatch()

    def stopProducing(self) -> None:
        """The connection ends."""

    def end(self) -> None:
        """Reset the connection: no close_notify of TLS, no FIN."""
        self._closing = True
        self._tcp.abortConnection()

    def half_close(self) -> None:
        """Send a FIN, and nothing after it; below TLS, if there is TLS. Commands of the client are still handled."""
        if self._closing or self._write_closed:
            return
        self._write_closed = True
        self._socket.unregisterProducer()
        if self._tcp is self._socket:
            self._tcp.loseWriteConnection()
        else:
            # Twisted's TLS fails on a TCP transport whose write side is closed, so close that of the socket itself:
            # after the turn in which TLS passes on what it has gathered, and the one in which TCP sends it.
            self._later(0, lambda: self._later(0, lambda: self._tcp.socket.shutdown(SHUT_WR)))

    def stop_reading(self, stopped: bool = True) -> None:
        """Read nothing from the client, or read again. PINGs pause, too."""
        self._stopped_reading = stopped
        self._received = True
        if self.transport is not None:
            self._update_reading()

    def challenge(self) -> None:
        """Ask the client for new credentials, as brokers do when a token expires."""
        challenge = pb.AuthData(auth_method_name=self.auth_method)
        add_bytes(challenge, 2, _REFRESH)
        self._send(pb.CommandAuthChallenge(server_version=self._version, challenge=challenge))

    @property
    def _socket(self) -> Any:
        """The transport: TCP, or TLS over it. Twisted has no interface for what both can do."""
        return self.transport

    @property
    def _tcp(self) -> Any:
        """The transport of TCP, also below TLS."""
        return getattr(self.transport, "transport", self.transport)

    @property
    def _version(self) -> str:
        return f"sniproxy-stand-in {self._broker.name}"

    def _update_reading(self) -> None:
        if self._paused != (self._stopped_reading or not self._writable) and not self._closing:
            self._paused = not self._paused
            if self._paused:
                self._socket.pauseProducing()
            else:
                self._socket.resumeProducing()

    def _drop(self, reason: str) -> None:
        if self._closing:
            return
        self._log.info(
            "{broker}: closing the connection of {client}: {reason}",
            broker=self._broker.name,
            client=self.client,
            reason=reason,
        )
        self._closing = True
        if not self._write_closed:
            self._socket.unregisterProducer()
        self._socket.loseConnection()

    def _ping(self) -> None:
        if self._closing:
            self.end()  # the client does not read the end
        elif self._stopped_reading:
            return
        elif not self._received:
            self._drop(f"no answer to PING within {self._broker.keep_alive_s:.0f} s")
        else:
            self._received = False
            self._send(pb.CommandPing())

    def _send(self, message: Message, section: bytes = b"") -> None:
        name = _NAMES[message.DESCRIPTOR.full_name]
        if not self._closing:
            topic = self.session.topic_of(message) or self._topic
            self._with_fault(self._broker.faults.take(name, topic), lambda: self._write(message, section))

    def _write(self, message: Message, section: bytes) -> None:
        # Messages may still be delivered while the connection is closing.
        if not self._closing and not self._write_closed:
            self._socket.write(write(message, section))

    def _receive(self, command: pb.BaseCommand, section: bytes) -> None:
        name = type_name(command)
        if not self._connected and command.type != pb.BaseCommand.CONNECT:
            raise CommandError(f"{name} before CONNECT")
        fields = fields_of(command)
        require_texts(fields)
        topic = self.session.topic_of(fields)
        fault = None if name in SENT_BY_BROKERS else self._broker.faults.take(name, topic)
        try:
            if fault is not None and fault.action is Action.REFUSE:
                self._refuse(fields, fault.error, fault.message)
            else:
                self._with_fault(fault, lambda: self._handle(name, fields, section, topic))
        finally:
            # Last, so that a test that waits for a command finds what it has changed.
            shown = fields
            if type(fields) in _AUTH_DATA:
                shown = type(fields)()
                shown.CopyFrom(fields)
                shown.DiscardUnknownFields()
            self._broker.commands.add(ReceivedCommand(name, shown, self.client, topic), shown.ByteSize())

    def _with_fault(self, fault: BrokerFault | None, action: Callable[[], None]) -> None:
        match fault and fault.action:
            case None:
                action()
            case Action.RESET:
                self.end()
            case Action.HALF_CLOSE:
                self.half_close()
            case Action.DELAY:
                assert fault is not None
                if len(self._delayed) >= MAX_DELAYED:
                    self._drop(f"{MAX_DELAYED} commands are delayed")
                else:
                    self._later(fault.seconds, action)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, unless the connection closes before."""

        def call() -> None:
            self._delayed.discard(delayed)
            try:
                if not self._closing:
                    action()
            except (FrameError, CommandError) as error:
                self._drop(str(error))

        delayed = self._broker.clock.callLater(seconds, call)
        self._delayed.add(delayed)

    def _handle(self, name: str, fields: Any, section: bytes, topic: str | None) -> None:
        self._topic = topic
        try:
            if name in _HANDLERS:
                _HANDLERS[name](self.session, fields)
            elif name == "SEND":
                producers.store_message(self.session, fields, section)
            elif name == "CONNECT":
                self._connect(fields)
            elif name == "AUTH_RESPONSE":
                self._log_in(fields, fields.response, fields.response.auth_method_name)
            elif name == "PING":
                self._send(pb.CommandPong())
            elif name not in SENT_BY_BROKERS:
                self._refuse(fields, pb.UnsupportedVersionError, f"the embedded broker does not support {name}")
        except RequestError as error:
            self._refuse(fields, error.error, error.message)
        finally:
            self._topic = None

    def _refuse(self, fields: Any, error: pb.ServerError, message: str) -> None:
        answer = refusal(fields, error, message)
        if answer is not None:
            self._send(answer)
        if type(fields) in _AUTH_DATA:
            self._drop(message)

    def _connect(self, connect: pb.CommandConnect) -> None:
        if self._connected:
            raise CommandError("a second CONNECT")
        self.client_version = connect.client_version
        self.protocol_version = connect.protocol_version
        self._log_in(connect, connect, connect.auth_method_name)
        self._connected = True
        self._broker.report("CONNECT", self.client)
        self._send(
            pb.CommandConnected(
                server_version=self._version,
                protocol_version=min(connect.protocol_version, _PROTOCOL_VERSION),
                max_message_size=_MAX_MESSAGE_BYTES,
            )
        )

    def _log_in(self, fields: Message, holder: Message, method: str) -> None:
        """Check the credentials in a message of CONNECT or AUTH_RESPONSE. Raises `RequestError`."""
        self.auth_method = method
        self.auth_data = bytes_of(holder, _AUTH_DATA[type(fields)]) or b""
        if not self._broker.cluster.accepts(method, self.auth_data):
            raise RequestError(pb.AuthenticationError, "Failed to authenticate")
