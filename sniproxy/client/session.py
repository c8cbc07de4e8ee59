"""One connection with a broker: CONNECT, requests and their answers, and what a broker says by itself."""

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
from sniproxy.pulsar.commands import CommandError, error_name, fields_of, read, text, type_name, write
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, Frame, FrameError, FrameReader

M = TypeVar("M", bound=Message)

MAX_MESSAGES = 1000
"""Commands for one producer or consumer that nobody has taken yet; a broker sends no more than was permitted."""

_HEADER_BYTES = 10 * 1024  # for all of a frame that is not the message (DEFAULT_LIMIT)
_Base = pb.BaseCommand
# Their request ids are the broker's own.
_ASKED_BY_BROKERS = (_Base.CLOSE_PRODUCER, _Base.CLOSE_CONSUMER)
_CHANNELS: dict[int, str] = {
    _Base.SEND_RECEIPT: "producer",
    _Base.SEND_ERROR: "producer",
    _Base.CLOSE_PRODUCER: "producer",
    _Base.MESSAGE: "consumer",
    _Base.CLOSE_CONSUMER: "consumer",
}


class PendingAnswer:
    """What somebody waits for, with a deadline."""

    def __init__(self, session: BrokerSession, what: str) -> None:
        self._session = session
        self._what = what
        # Failures come as values: one that nobody takes is no unhandled error.
        self._answer: Deferred[Any] = Deferred()

    def give(self, answer: Any) -> None:
        """It has come, or the `ClientError` in its place."""
        if not self._answer.called:
            self._answer.callback(answer)

    async def take(self) -> Any:
        """Wait for it. Raises `ClientError`, after the session's patience too."""
        session = self._session
        try:
            answer = await self._answer.addTimeout(session.patience, session.clock)
        except TookTooLong:
            raise ClientError(
                FailureKind.TIMEOUT,
                f"{session.peer}: no {self._what} within {session.patience:g} s",
                "look at the broker's load and log, or wait longer",
            ) from None
        if isinstance(answer, ClientError):
            raise answer
        return answer


class CommandQueue:
    """What a broker says to one producer or consumer, in order."""

    def __init__(self, session: BrokerSession, what: str) -> None:
        self._session = session
        self._what = what
        self._held: deque[tuple[pb.BaseCommand, bytes]] = deque()
        self._waiting: PendingAnswer | None = None

    def put(self, command: pb.BaseCommand, section: bytes) -> None:
        """The next one, with its payload section; raises `CommandError` when too many are held."""
        if len(self._held) >= MAX_MESSAGES:
            raise CommandError(f"more than {MAX_MESSAGES} commands for one {self._what}")
        self._held.append((command, section))
        self.wake(None)

    def wake(self, failure: ClientError | None) -> None:
        """Something has happened."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.give(failure)

    async def take(self) -> tuple[pb.BaseCommand, bytes]:
        """The next one; one taker at a time.

        @raise ClientError: none came in time, or the session has ended and nothing is left.
        """
        while not self._held:
            self._session.check()
            self._waiting = PendingAnswer(self._session, f"word to the {self._what}")
            await self._waiting.take()
        return self._held.popleft()


@implementer(IHandshakeListener, IPushProducer)
class BrokerSession(protocol.Protocol):
    """A connection with a broker, which begins with `secured` where it is TLS, and with `log_in`.

    @param peer: how messages call the broker. @param patience: seconds for each wait.
    @param explain: from why and at which stage the connection was lost, to a failure. @param tls: whether it is TLS.
    @param largest: bytes of the largest frame that is taken. None: as the broker says.
    @ivar stage: how far it has come.
    @ivar failed: why it has ended; None: it has not.
    """

    def __init__(
        self,
        clock: IReactorTime,
        peer: str,
        patience: float,
        explain: Callable[[BaseException, Stage], ClientError],
        tls: bool = True,
        largest: int | None = None,
    ) -> None:
        self.clock = clock
        self.peer = peer
        self.patience = patience
        self.failed: ClientError | None = None
        self.server_version = ""
        self.gone: Deferred[None] = Deferred()
        self._explain = explain
        self._reader = FrameReader(largest or MAX_FRAME_BYTES)
        self._largest = largest
        self._tls = tls
        self.stage = Stage.HANDSHAKE if tls else Stage.LOGIN
        self._handshake = PendingAnswer(self, "end of the TLS handshake")
        self._connected: PendingAnswer | None = None
        self._requests: dict[int, PendingAnswer] = {}
        self._last_request = 0
        self._channels: dict[tuple[str, int], CommandQueue] = {}

    # What Twisted calls.

    def connectionMade(self) -> None:
        # As a producer we are told of a broker that asks and does not read: then its questions are not read either, for
        # the answers would pile up here.
        cast(IConsumer, self.transport).registerProducer(self, True)

    def pauseProducing(self) -> None:
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        cast(IPushProducer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost: there is nothing to be stopped."""

    def handshakeCompleted(self) -> None:
        self.stage = Stage.LOGIN
        self._handshake.give(None)

    def dataReceived(self, data: bytes) -> None:
        if self.failed is not None:
            return
        try:
            for frame in self._reader.each(data):
                self._take(frame)
        except (FrameError, CommandError) as error:
            self._fail(self._not_pulsar(error))

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        assert reason.value is not None
        if self.failed is None:
            self._end(self._explain(reason.value, self.stage))
        self.gone.callback(None)

    # What the holder calls.

    async def secured(self) -> None:
        """Wait until TLS stands, and the certificate is verified. Raises `ClientError`."""
        if self.stage is Stage.HANDSHAKE:
            self.check()
            await self._handshake.take()

    async def log_in(self, connect: pb.CommandConnect) -> pb.CommandConnected:
        """Send CONNECT, and wait for CONNECTED. Raises `ClientError`."""
        self.check()
        self._connected = waiting = PendingAnswer(self, "CONNECTED")
        self.tell(connect)
        connected: pb.CommandConnected = await waiting.take()
        self.stage = Stage.TALK
        self.server_version = text(connected, "server_version") or ""
        if connected.max_message_size > 0 and self._largest is None:
            self._reader.limit = connected.max_message_size + _HEADER_BYTES
        return connected

    async def ask(self, request: Message, wanted: type[M]) -> M:
        """Send a command that has a request id, which is filled in, and wait for the fields of its answer.

        @param wanted: the command that answers this one.
        @raise ClientError: it is an error, another command, does not come in time, or the connection has ended.
        """
        self.check()
        self._last_request += 1
        number = self._last_request
        cast(Any, request).request_id = number
        name = type(request).__name__.removeprefix("Command")
        waiting = self._requests[number] = PendingAnswer(self, f"answer to {name}")
        self.tell(request)
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

    def tell(self, command: Message, section: bytes = b"") -> None:
        """Send one command, with a payload section where it has one."""
        assert self.transport is not None
        self.transport.write(write(command, section))

    def channel(self, kind: str, number: int) -> CommandQueue:
        """What the broker says to this ``producer`` or ``consumer`` from now on."""
        return self._channels.setdefault((kind, number), CommandQueue(self, kind))

    def forget(self, kind: str, number: int) -> None:
        """It is closed: what comes for it is dropped."""
        self._channels.pop((kind, number), None)

    def check(self) -> None:
        """Raise why the session has ended, if it has."""
        if self.failed is not None:
            raise self.failed

    def close(self) -> Deferred[None]:
        """End the connection in order; fires when it has ended. A peer that lets us wait is cut off."""
        assert self.transport is not None
        self._end(ClientError(FailureKind.CLOSED, f"{self.peer}: closed by this client"))
        if self.gone.called:
            return self.gone
        cast(IConsumer, self.transport).unregisterProducer()  # who produces is waited for
        self.transport.loseConnection()
        cut = self.clock.callLater(self.patience, self._cut)

        def over(_: None) -> None:
            if cut.active():
                cut.cancel()

        return self.gone.addCallback(over)

    def abort(self) -> None:
        """End the connection at once, whatever the peer does."""
        self._end(ClientError(FailureKind.CLOSED, f"{self.peer}: closed by this client"))
        self._cut()

    # How it works.

    def _take(self, frame: Frame) -> None:
        if self.failed is not None:
            return
        command = read(frame.command)
        kind = command.type
        if kind == _Base.PING:
            self.tell(pb.CommandPong())
        elif kind == _Base.CONNECTED and self._connected is not None:
            connected, self._connected = self._connected, None
            connected.give(command.connected)
        elif kind == _Base.AUTH_CHALLENGE:
            self._fail(
                ClientError(
                    FailureKind.AUTHENTICATION,
                    f"{self.peer} asks for more steps of authentication than this client knows",
                    "use a token or a client certificate",
                )
            )
        elif kind in _CHANNELS:
            self._to_channel(_CHANNELS[kind], command, frame.section)
        else:
            self._answered(command)

    def _to_channel(self, kind: str, command: pb.BaseCommand, section: bytes) -> None:
        channel = self._channels.get((kind, getattr(fields_of(command), f"{kind}_id")))
        if channel is not None:
            channel.put(command, section)

    def _answered(self, command: pb.BaseCommand) -> None:
        number = getattr(fields_of(command), "request_id", None) if command.type != _Base.PONG else None
        waiting = None if number is None else self._requests.pop(number, None)
        if waiting is not None:
            waiting.give(command)
        elif command.type == _Base.ERROR:
            # About the connection, and the last word on it.
            self._fail(self._refused(command.error))

    def _refused(self, error: pb.CommandError) -> ClientError:
        name, message = error_name(error), text(error, "message")
        if self._connected is not None and not self._tls and name == "NotAllowedError":
            # So sniproxy answers a plaintext client on its TLS port.
            return ClientError(
                FailureKind.TLS_MISMATCH, f"{self.peer}: {message}", "write pulsar+ssl:// in the service URL"
            )
        return refusal(name, message, f"{self.peer} to CONNECT" if self._connected is not None else self.peer)

    def _not_pulsar(self, error: Exception) -> ClientError:
        start = self._reader.rest[:2]
        if not self._tls and start[:1] in (b"\x15", b"\x16") and start[1:2] == b"\x03":
            return ClientError(
                FailureKind.TLS_MISMATCH, f"{self.peer}: the answer is TLS", "write pulsar+ssl:// in the service URL"
            )
        return ClientError(
            FailureKind.NOT_PULSAR,
            f"{self.peer}: the answer is not Pulsar's: {error}",
            "name a broker's port, not a web port",
        )

    def _fail(self, failure: ClientError) -> None:
        self._end(failure)
        self._cut()

    def _cut(self) -> None:
        if not self.gone.called:
            cast(ITCPTransport, self.transport).abortConnection()

    def _end(self, failure: ClientError) -> None:
        """Tell all who wait; the first reason counts."""
        if self.failed is not None:
            return
        self.failed = failure
        waiting = [self._handshake, self._connected, *self._requests.values()]
        self._connected = None
        self._requests.clear()
        for one in waiting:
            if one is not None:
                one.give(failure)
        for channel in list(self._channels.values()):
            channel.wake(failure)
