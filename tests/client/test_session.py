"""Tests for sniproxy.client.session."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from google.protobuf.message import Message
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.failures import ClientError, FailureKind, Stage
from sniproxy.client.logins import NO_LOGIN
from sniproxy.client.session import MAX_MESSAGES, BrokerSession
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader, encode_section
from tests.client.scripted import connected

METADATA = pb.CommandPartitionedTopicMetadata
ANSWER = pb.CommandPartitionedTopicMetadataResponse
ABOUT_ALL = 2**64 - 1


def explain(error: BaseException, stage: Stage) -> ClientError:
    return ClientError(FailureKind.CLOSED, f"{error} {stage.value}")


class SessionTests(SynchronousTestCase):
    """Session, on a transport that records writes."""

    def setUp(self, tls: bool = False) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.session = BrokerSession(self.clock, "b1.test", 30, explain, tls)
        self.session.makeConnection(self.transport)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    def ask(self) -> Deferred[Any]:
        return self.start(self.session.ask(METADATA(topic="t"), ANSWER))

    def hear(self, *commands: Message, section: bytes = b"") -> None:
        for command in commands:
            self.session.dataReceived(write(command, section))

    def said(self) -> list[pb.BaseCommand]:
        """The commands that the session has written since the last call."""
        frames = FrameReader().feed(self.transport.value())
        self.transport.clear()
        return [read(frame.command) for frame in frames]

    def failure(self, waiting: Deferred[Any]) -> ClientError:
        failed: Any = self.failureResultOf(waiting, ClientError).value
        assert isinstance(failed, ClientError)
        return failed

    def test_log_in(self) -> None:
        """CONNECT is sent; CONNECTED has the server version and the maximum frame size."""
        logged_in = self.start(self.session.log_in(NO_LOGIN.connect()))
        self.assertEqual([command.type for command in self.said()], [pb.BaseCommand.CONNECT])
        self.assertNoResult(logged_in)
        answer = connected("v1")
        answer.max_message_size = 100
        self.hear(answer)
        self.assertEqual(self.successResultOf(logged_in).server_version, "v1")
        self.assertEqual((self.session.server_version, self.session.stage), ("v1", Stage.TALK))
        waiting = self.ask()
        self.session.dataReceived(bytes.fromhex("00010000 00000008"))
        self.assertEqual(self.failure(waiting).kind, FailureKind.NOT_PULSAR)

    def test_frame_limit(self) -> None:
        """A limit of its own, or a broker that announces none, leaves the limit of frames unchanged."""
        for limit, announced, size, fails in ((100, 5 << 20, 101, True), (None, 0, 1000, False)):
            self.setUp()
            self.session = BrokerSession(self.clock, "b1.test", 30, explain, False, limit)
            self.session.makeConnection(StringTransport())
            logged_in = self.start(self.session.log_in(NO_LOGIN.connect()))
            answer = connected("v1")
            answer.max_message_size = announced
            self.hear(answer)
            self.successResultOf(logged_in)
            self.session.dataReceived(size.to_bytes(4, "big") + b"\0\0\0\x08")
            self.assertEqual(fails, self.session.failed is not None)

    def test_requests(self) -> None:
        """Answers are matched by request id, in any order and fragmentation."""
        first, second = self.ask(), self.ask()
        numbers = [command.partitionMetadata.request_id for command in self.said()]
        self.assertEqual(len(set(numbers)), 2)
        data = b"".join(write(ANSWER(request_id=number, partitions=number)) for number in reversed(numbers))
        for at in range(len(data)):
            self.session.dataReceived(data[at : at + 1])
        results = [self.successResultOf(waiting).partitions for waiting in (first, second)]
        self.assertEqual(results, numbers)

    def test_refused(self) -> None:
        """An ERROR fails the request with its id; without a known id it ends the session."""
        first, second = self.ask(), self.ask()
        self.hear(pb.CommandError(request_id=1, error=pb.TopicNotFound, message="no"))
        failure = self.failure(first)
        self.assertEqual(failure.kind, FailureKind.NOT_FOUND)
        self.assertEqual(failure.reason, "b1.test to PartitionedTopicMetadata: TopicNotFound: no")
        self.assertNoResult(second)
        self.hear(pb.CommandError(request_id=ABOUT_ALL, error=pb.AuthenticationError, message="who?"))
        self.assertEqual(self.failure(second).kind, FailureKind.AUTHENTICATION)
        self.assertEqual(self.failure(self.ask()).kind, FailureKind.AUTHENTICATION)
        self.assertTrue(self.transport.disconnected)

    def test_another_answer(self) -> None:
        """An answer of the wrong type fails its request; others keep waiting."""
        first, second = self.ask(), self.ask()
        self.hear(pb.CommandSuccess(request_id=1), ANSWER(request_id=2, partitions=7))
        self.assertEqual(
            "b1.test: the answer is not Pulsar: SUCCESS to PartitionedTopicMetadata", self.failure(first).reason
        )
        self.assertEqual(7, self.successResultOf(second).partitions)

    def test_ping(self) -> None:
        """PING is answered; PONG and unknown request ids are ignored."""
        self.hear(pb.CommandPing(), pb.CommandPong(), ANSWER(request_id=9), connected())
        self.assertEqual([command.type for command in self.said()], [pb.BaseCommand.PONG])
        self.session.raise_if_ended()

    def test_pings_without_reading(self) -> None:
        """While a broker does not read the PONGs, the session stops reading."""
        producer = self.transport.producer
        assert producer is not None
        producer.pauseProducing()
        self.assertEqual("paused", self.transport.producerState)
        producer.resumeProducing()
        self.assertEqual("producing", self.transport.producerState)
        self.session.close()
        self.assertIsNone(self.transport.producer)

    def test_deadline(self) -> None:
        """An answer after the deadline is dropped; only that request fails."""
        waiting = self.ask()
        self.clock.advance(29)
        later = self.ask()
        self.assertNoResult(waiting)
        self.clock.advance(1)
        failure = self.failure(waiting)
        self.assertEqual(failure.kind, FailureKind.TIMEOUT)
        self.assertEqual(failure.reason, "b1.test: no answer to PartitionedTopicMetadata within 30 s")
        self.hear(ANSWER(request_id=1), ANSWER(request_id=2))
        self.successResultOf(later)

    def test_cancelled(self) -> None:
        """A cancelled request leaves no state."""
        waiting = self.ask()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.session._requests, {})
        self.hear(ANSWER(request_id=1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_handshake(self) -> None:
        """The TLS handshake has the same deadline; without TLS there is no wait."""
        self.successResultOf(self.start(self.session.wait_secured()))
        self.setUp(tls=True)
        waiting = self.start(self.session.wait_secured())
        self.assertNoResult(waiting)
        self.session.handshakeCompleted()
        self.successResultOf(waiting)
        self.successResultOf(self.start(self.session.wait_secured()))
        self.setUp(tls=True)
        waiting = self.start(self.session.wait_secured())
        self.clock.advance(30)
        self.assertIn("no end of the TLS handshake within 30 s", self.failure(waiting).reason)

    def test_lost(self) -> None:
        """The end of the connection fails all requests, with the stage."""
        for tls, stage in ((True, "in the TLS handshake"), (False, "before CONNECTED")):
            self.setUp(tls=tls)
            waiting = [
                self.start(self.session.wait_secured()),
                self.ask(),
                self.start(self.session.log_in(NO_LOGIN.connect())),
            ]
            self.session.connectionLost(Failure(ConnectionResetError("reset")))
            for one in waiting[0 if tls else 1 :]:
                self.assertEqual(self.failure(one).reason, f"reset {stage}")
            self.assertEqual(self.failure(self.ask()).reason, f"reset {stage}")
            self.successResultOf(self.session.closed)

    def test_not_pulsar(self) -> None:
        """An answer that is not Pulsar ends the session; TLS and the error of sniproxy are recognised."""
        for data, kind, reason in (
            (b"HTTP/1.1 400 Bad Request\r\n", FailureKind.NOT_PULSAR, "over the limit"),
            (bytes.fromhex("00000006 00000002 ffff"), FailureKind.NOT_PULSAR, "not a protobuf"),
            (bytes.fromhex("15030300020250") + b"\x00", FailureKind.TLS_MISMATCH, "the answer is TLS"),
            (
                write(pb.CommandError(request_id=ABOUT_ALL, error=pb.NotAllowedError, message="this port speaks TLS")),
                FailureKind.TLS_MISMATCH,
                "this port speaks TLS",
            ),
        ):
            self.setUp()
            waiting = self.start(self.session.log_in(NO_LOGIN.connect()))
            self.session.dataReceived(data)
            failure = self.failure(waiting)
            self.assertEqual(failure.kind, kind)
            self.assertIn(reason, failure.reason)
            self.session.dataReceived(data)

    def test_challenge(self) -> None:
        """An AUTH_CHALLENGE is a failure."""
        waiting = self.start(self.session.log_in(NO_LOGIN.connect()))
        self.hear(pb.CommandAuthChallenge())
        self.assertEqual(self.failure(waiting).kind, FailureKind.AUTHENTICATION)

    def test_channels(self) -> None:
        """Commands for a producer or consumer are queued in order, with their payload; others are dropped."""
        where = pb.MessageIdData(ledgerId=1, entryId=2)
        section = encode_section(b"", b"hello")
        channel = self.session.open_queue("consumer", 1)
        self.hear(pb.CommandMessage(consumer_id=2, message_id=where), section=section)
        self.hear(pb.CommandMessage(consumer_id=1, message_id=where), section=section)
        self.hear(pb.CommandCloseConsumer(consumer_id=1, request_id=1))
        command, held = self.successResultOf(self.start(channel.take()))
        self.assertEqual((command.message.consumer_id, held), (1, section))
        self.assertEqual(self.successResultOf(self.start(channel.take()))[0].type, pb.BaseCommand.CLOSE_CONSUMER)
        waiting = self.start(channel.take())
        self.assertNoResult(waiting)
        self.hear(pb.CommandMessage(consumer_id=1, message_id=where), section=section)
        self.successResultOf(waiting)
        self.session.connectionLost(Failure(ConnectionResetError("reset")))
        self.assertEqual(self.failure(self.start(channel.take())).kind, FailureKind.CLOSED)

    def test_flood(self) -> None:
        """A queue that overflows ends the session."""
        self.session.open_queue("consumer", 1)
        message = pb.CommandMessage(consumer_id=1, message_id=pb.MessageIdData(ledgerId=1, entryId=2))
        for _ in range(MAX_MESSAGES):
            self.hear(message, section=b"\0\0\0\0")
        self.session.raise_if_ended()
        self.hear(message, section=b"\0\0\0\0")
        self.assertRaises(ClientError, self.session.raise_if_ended)

    def test_after_the_end(self) -> None:
        """What a broker sends behind the frame that ended the session is ignored."""
        waiting = self.start(self.session.log_in(NO_LOGIN.connect()))
        self.said()
        refused = pb.CommandError(request_id=ABOUT_ALL, error=pb.AuthenticationError, message="no")
        self.session.dataReceived(write(refused) + write(pb.CommandPing()) + write(connected()))
        self.assertEqual(self.failure(waiting).kind, FailureKind.AUTHENTICATION)
        self.assertEqual(self.said(), [])
        self.hear(pb.CommandPing())
        self.assertEqual(self.said(), [])

    def test_twice(self) -> None:
        """The first end counts: a session that has ended is closed already, and keeps its failure."""
        self.session.connectionLost(Failure(ConnectionResetError("reset")))
        failure = self.session.failed
        self.assertEqual("reset before CONNECTED", str(failure))
        self.successResultOf(self.session.close())
        self.session.abort()
        self.assertIs(failure, self.session.failed)
        self.assertEqual((False, False), (self.transport.disconnecting, self.transport.disconnected))

    def test_late_handshake(self) -> None:
        """An end of the handshake that comes too late changes nothing; an abort ends all waits."""
        self.setUp(tls=True)
        waiting = self.start(self.session.wait_secured())
        self.session.abort()
        self.assertIn("closed by this client", self.failure(waiting).reason)
        self.session.handshakeCompleted()
        self.session.connectionLost(Failure(ConnectionResetError("reset")))
        self.assertIn("closed by this client", self.failure(self.ask()).reason)

    def test_closed_queue(self) -> None:
        """Commands for a producer or consumer that was closed are dropped; the wait of one that is open ends."""
        closed, opened = self.session.open_queue("consumer", 1), self.session.open_queue("consumer", 2)
        self.session.close_queue("consumer", 1)
        where = pb.MessageIdData(ledgerId=1, entryId=2)
        self.hear(pb.CommandMessage(consumer_id=1, message_id=where), section=encode_section(b"", b"x"))
        waits = [self.start(queue.take()) for queue in (closed, opened)]
        self.session.abort()
        self.assertIn("closed by this client", self.failure(waits[1]).reason)
        self.clock.advance(30)
        self.assertEqual(FailureKind.TIMEOUT, self.failure(waits[0]).kind)

    def test_close(self) -> None:
        """A close ends when the peer closes, or after a timeout."""
        for answers in (True, False):
            self.setUp()
            gone = self.session.close()
            self.assertTrue(self.transport.disconnecting)
            self.assertNoResult(gone)
            if answers:
                self.session.connectionLost(Failure(ConnectionResetError()))
                self.successResultOf(gone)
                self.assertEqual(self.clock.getDelayedCalls(), [])
            else:
                self.clock.advance(30)
                self.assertTrue(self.transport.disconnected)
                self.session.connectionLost(Failure(ConnectionResetError()))
                self.successResultOf(gone)
