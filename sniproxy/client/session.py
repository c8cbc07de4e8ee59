"""A connection to a broker: login, requests and their answers, and unsolicited commands of the broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IConsumer, IHandshakeListener, IPushProducer, IReactorTime, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.client.failures import ClientError, FailureKind, Stage
from sniproxy.client.redirects import refusal
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, error_name, feature_names, fields_of, read, text, type_name, write
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, Frame, FrameError, FrameReader

M = TypeVar("M", bound=Message)

MAX_MESSAGES = 1000
"""Maximum of queued commands for a producer or consumer. A broker never sends more than its permits."""

_HEADER_BYTES = 10 * 1024  # for the parts of a frame besides the message
_Base = pb.BaseCommand
_QUEUE_KINDS: dict[int, str] = {
    _Base.SEND_RECEIPT: "producer",
    _Base.SEND_ERROR: "producer",
    _Base.CLOSE_PRODUCER: "producer",
    _Base.MESSAGE: "consumer",
    _Base.CLOSE_CONSUMER: "consumer",
    _Base.SCALABLE_TOPIC_UPDATE: "session",
}


class PendingAnswer:
    """An answer that a caller waits for, with a deadline."""

    def __init__(self, session: BrokerSession, what: str) -> None:
        self._session = session
        self._what = what
        # Failures are passed as values, so that one without a reader is not logged as an unhandled error.
        self._answer: Deferred[Any] = Deferred()

    def set(self, answer: Any) -> None:
        """Set the answer, or the `ClientError` in its place."""
        if not self._answer.called:
            self._answer.callback(answer)

    async def take(self) -> Any:
        """Wait for the answer. @raise ClientError: the session has ended or the deadline has passed."""
        session = self._session
        try:
            answer = await self._answer.addTimeout(session.timeout_s, session.clock)
        except TookTooLong:
            raise ClientError(
                FailureKind.TIMEOUT,
                f"{session.peer}: no {self._what} within {session.timeout_s:g} s",
                "check the load and the log of the broker, or use a longer timeout",
            ) from None
        if isinstance(answer, ClientError):
            raise answer
        return answer


class CommandQueue:
    """Commands of a broker to one producer, consumer or session of a scalable topic, in order."""

    def __init__(self, session: BrokerSession, what: str) -> None:
        self._session = session
        self._what = what
        self._queued: deque[tuple[pb.BaseCommand, bytes]] = deque()
        self._waiting: PendingAnswer | None = None

    def put(self, command: pb.BaseCommand, section: bytes) -> None:
        """Add a command with its payload section. @raise CommandError: too many commands are queued."""
        if len(self._queued) >= MAX_MESSAGES:
            raise CommandError(f"more than {MAX_MESSAGES} commands for one {self._what}")
        self._queued.append((command, section))
        self.wake(None)

    def wake(self, failure: ClientError | None) -> None:
        """Wake the caller of L{take}. @param failure: its error, or None."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set(failure)

    async def take(self) -> tuple[pb.BaseCommand, bytes]:
        """Wait for the next command. Only one caller at a time.

        @raise ClientError: none arrived in time, or the session has ended and the queue is empty.
        """
        while not self._queued:
            self._session.raise_if_ended()
            self._waiting = PendingAnswer(self._session, f"command for the {self._what}")
            await self._waiting.take()
        return self._queued.popleft()


@implementer(IHandshakeListener, IPushProducer)
class BrokerSession(protocol.Protocol):
    """A connection to a broker. Call `wait_secured`, if it uses TLS, then `log_in`.

    @param peer: the name of the broker in error messages. @param timeout_s: seconds for each wait.
    @param explain: maps the reason and the stage of a lost connection to an error. @param tls: whether it uses TLS.
    @param max_frame_bytes: maximum size of a received frame; None for the limit that the broker announces.
    @ivar stage: the current stage. @ivar failed: why the session has ended; None while it is open.
    @ivar features: what the broker supports, such as ``scalable_topics``; empty before CONNECTED.
    @ivar closed: fires when the connection is closed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        peer: str,
        timeout_s: float,
        explain: Callable[[BaseException, Stage], ClientError],
        tls: bool = True,
        max_frame_bytes: int | None = None,
    ) -> None:
        self.clock = clock
        self.peer = peer
        self.timeout_s = timeout_s
        self.failed: ClientError | None = None
        self.server_version = ""
        self.features: frozenset[str] = frozenset()
        self.closed: Deferred[None] = Deferred()
        self._explain = explain
        self._reader = FrameReader(max_frame_bytes or MAX_FRAME_BYTES)
        self._max_frame_bytes = max_frame_bytes
        self._tls = tls
        self.stage = Stage.HANDSHAKE if tls else Stage.LOGIN
        self._handshake = PendingAnswer(self, "end of the TLS handshake")
        self._connected: PendingAnswer | None = None
        self._requests: dict[int, PendingAnswer] = {}
        self._last_request = 0
        self._last_id = 0
        self._queues: dict[tuple[str, int], CommandQueue] = {}

    # Called by Twisted.

    def connectionMade(self) -> None:
        # If the broker sends requests but does not read, stop reading, or the answers would accumulate here.
        cast(IConsumer, self.transport).registerProducer(self, True)

    def pauseProducing(self) -> None:
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        cast(IPushProducer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """Nothing: the connection is lost."""

    def handshakeCompleted(self) -> None:
        self.stage = Stage.LOGIN
        self._handshake.set(None)

    def dataReceived(self, data: bytes) -> None:
        if self.failed is not None:
            return
        try:
            for frame in self._reader.each(data):
                self._handle_frame(frame)
        except (FrameError, CommandError) as error:
            self._fail(self._not_pulsar(error))

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        assert reason.value is not None
        if self.failed is None:
            self._end(self._explain(reason.value, self.stage))
        self.closed.callback(None)

    # Called by the user of the session.

    async def wait_secured(self) -> None:
        """Wait for the TLS handshake and the verification of the certificate. @raise ClientError: it failed."""
        if self.stage is Stage.HANDSHAKE:
            self.raise_if_ended()
            await self._handshake.take()

    async def log_in(self, connect: pb.CommandConnect) -> pb.CommandConnected:
        """Send CONNECT, and wait for CONNECTED. @raise ClientError: the login failed."""
        self.raise_if_ended()
        self._connected = waiting = PendingAnswer(self, "CONNECTED")
        self.send(connect)
        connected: pb.CommandConnected = await waiting.take()
        self.stage = Stage.TALK
        self.server_version = text(connected, "server_version") or ""
        self.features = frozenset(feature_names(connected.feature_flags))
        if connected.max_message_size > 0 and self._max_frame_bytes is None:
            self._reader.limit = connected.max_message_size + _HEADER_BYTES
        return connected

    async def ask(self, request: Message, wanted: type[M]) -> M:
        """Send a request, set its request id, and wait for the answer.

        @param wanted: the type of the answer.
        @raise ClientError: the answer is an error or another command, or the wait timed out or the session has ended.
        """
        self.raise_if_ended()
        self._last_request += 1
        number = self._last_request
        cast(Any, request).request_id = number
        name = type(request).__name__.removeprefix("Command")
        waiting = self._requests[number] = PendingAnswer(self, f"answer to {name}")
        self.send(request)
        try:
            command: pb.BaseCommand = await waiting.take()
        finally:
            self._requests.pop(number, None)
        answer = fields_of(command)
        if command.type == _Base.ERROR:
            raise refusal(error_name(answer), text(answer, "message"), f"{self.peer} to {name}")
        if not isinstance(answer, wanted):
            raise self._not_pulsar(CommandError(f"{type_name(command)} to {name}"))
        return answer

    def send(self, command: Message, section: bytes = b"") -> None:
        """Send a command, with an optional payload section."""
        assert self.transport is not None
        self.transport.write(write(command, section))

    def next_id(self) -> int:
        """An id for a producer, a consumer or a session, unique on this connection."""
        self._last_id += 1
        return self._last_id

    def open_queue(self, kind: str, number: int) -> CommandQueue:
        """Queue the commands for a ``producer``, ``consumer`` or ``session`` from now on."""
        return self._queues.setdefault((kind, number), CommandQueue(self, kind))

    def close_queue(self, kind: str, number: int) -> None:
        """Drop further commands for a producer or consumer."""
        self._queues.pop((kind, number), None)

    def raise_if_ended(self) -> None:
        """@raise ClientError: the session has ended."""
        if self.failed is not None:
            raise self.failed

    def close(self) -> Deferred[None]:
        """Close the connection gracefully, and abort it after the timeout. @return: fires when it is closed."""
        assert self.transport is not None
        self._end(ClientError(FailureKind.CLOSED, f"{self.peer}: closed by this client"))
        if self.closed.called:
            return self.closed
        cast(IConsumer, self.transport).unregisterProducer()  # loseConnection waits for a producer
        self.transport.loseConnection()
        deadline = self.clock.callLater(self.timeout_s, self._abort_transport)

        def over(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return self.closed.addCallback(over)

    def abort(self) -> None:
        """Abort the connection."""
        self._end(ClientError(FailureKind.CLOSED, f"{self.peer}: closed by this client"))
        self._abort_transport()

    # Internal.

    def _handle_frame(self, frame: Frame) -> None:
        if self.failed is not None:
            return
        command = read(frame.command)
        kind = command.type
        if kind == _Base.PING:
            self.send(pb.CommandPong())
        elif kind == _Base.CONNECTED and self._connected is not None:
            connected, self._connected = self._connected, None
            connected.set(command.connected)
        elif kind == _Base.AUTH_CHALLENGE:
            self._fail(
                ClientError(
                    FailureKind.AUTHENTICATION,
                    f"{self.peer}: the broker requires a multi-step authentication, which this client does not support",
                    "use a token or a client certificate",
                )
            )
        elif kind in _QUEUE_KINDS:
            self._to_queue(_QUEUE_KINDS[kind], command, frame.section)
        else:
            self._handle_answer(command)

    def _to_queue(self, kind: str, command: pb.BaseCommand, section: bytes) -> None:
        queue = self._queues.get((kind, getattr(fields_of(command), f"{kind}_id")))
        if queue is not None:
            queue.put(command, section)

    def _handle_answer(self, command: pb.BaseCommand) -> None:
        number = getattr(fields_of(command), "request_id", None) if command.type != _Base.PONG else None
        waiting = None if number is None else self._requests.pop(number, None)
        if waiting is not None:
            waiting.set(command)
        elif command.type == _Base.ERROR:
            # An error of the connection; the broker closes it.
            self._fail(self._refused(command.error))

    def _refused(self, error: pb.CommandError) -> ClientError:
        name, message = error_name(error), text(error, "message")
        if self._connected is not None and not self._tls and name == "NotAllowedError":
            # This is how sniproxy answers a plaintext client on a TLS port.
            return ClientError(FailureKind.TLS_MISMATCH, f"{self.peer}: {message}", "use a pulsar+ssl:// service URL")
        return refusal(name, message, f"{self.peer} to CONNECT" if self._connected is not None else self.peer)

    def _not_pulsar(self, error: Exception) -> ClientError:
        start = self._reader.rest[:2]
        if not self._tls and start[:1] in (b"\x15", b"\x16") and start[1:2] == b"\x03":
            return ClientError(
                FailureKind.TLS_MISMATCH, f"{self.peer}: the answer is TLS", "use a pulsar+ssl:// service URL"
            )
        return ClientError(
            FailureKind.NOT_PULSAR,
            f"{self.peer}: the answer is not Pulsar: {error}",
            "use the Pulsar port of the broker, not its web port",
        )

    def _fail(self, failure: ClientError) -> None:
        self._end(failure)
        self._abort_transport()

    def _abort_transport(self) -> None:
        if not self.closed.called:
            cast(ITCPTransport, self.transport).abortConnection()

    def _end(self, failure: ClientError) -> None:
        """End the session, and pass the failure to all callers that wait. Later failures are ignored."""
        if self.failed is not None:
            return
        self.failed = failure
        waiting = [self._handshake, self._connected, *self._requests.values()]
        self._connected = None
        self._requests.clear()
        for one in waiting:
            if one is not None:
                one.set(failure)
        for queue in list(self._queues.values()):
            queue.wake(failure)
