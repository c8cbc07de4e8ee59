"""Tests for sniproxy.testing.pulsar.connection."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sniproxy.client.logins import by_token
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import varint, write
from sniproxy.pulsar.frames import encode, encode_section
from sniproxy.testing.pulsar import connection
from sniproxy.testing.pulsar.connection import KEEP_ALIVE_S
from sniproxy.testing.pulsar.faults import Action, BrokerFault
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of
from sniproxy.testing.pulsar.session import NO_REQUEST
from tests.testing.pulsar.embedded import B1, CONNECT, METADATA, OURS, THEIRS, BrokerCase, Client, flow, subscribe


class ConnectionTests(BrokerCase):
    """Login, keep-alive and bad bytes."""

    def test_connect(self) -> None:
        """The answer to CONNECT has the server version, the common protocol version and the maximum message size."""
        client = Client(self.broker)
        [connected] = client.say(CONNECT)
        self.assertEqual(
            connected,
            pb.CommandConnected(
                server_version=f"sniproxy-stand-in {B1}", protocol_version=20, max_message_size=5242880
            ),
        )
        self.assertEqual(("test", 21), (client.end.client_version, client.end.protocol_version))

    def test_ping(self) -> None:
        """PING is answered with PONG, PONG with nothing."""
        self.assertEqual(self.client().say(pb.CommandPing(), pb.CommandPong()), [pb.CommandPong()])

    def test_keep_alive(self) -> None:
        """The broker pings every 30 seconds, and closes a connection from which it receives nothing."""
        client = self.client()
        for _ in range(3):
            self.clock.advance(KEEP_ALIVE_S)
            self.assertEqual(client.heard(), [pb.CommandPing()])
            client.say(pb.CommandPong())
        self.clock.advance(KEEP_ALIVE_S)
        self.assertFalse(client.transport.disconnecting)
        self.clock.advance(KEEP_ALIVE_S)
        self.assertTrue(client.transport.disconnecting)
        client.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_that_is_not_read(self) -> None:
        """A closing connection whose client does not read is reset."""
        client = self.client()
        client.end.dataReceived(b"\xff" * 8)
        self.clock.advance(KEEP_ALIVE_S)
        self.assertTrue(client.transport.aborted)

    def test_unsupported(self) -> None:
        """A command that the broker does not support gets an error, if it has a request id; the connection stays."""
        client = self.client()
        unsupported = (
            pb.CommandNewTxn(request_id=7),
            pb.CommandWatchTopicList(request_id=7, watcher_id=1, namespace="a/b"),
            pb.CommandConsumerStats(request_id=7),
            pb.CommandTcClientConnectRequest(request_id=7, tc_id=0),
        )
        for command in unsupported:
            [answer] = client.say(command)
            self.assertEqual(7, answer.request_id)
            self.assertIn("does not support", getattr(answer, "message", "") or getattr(answer, "error_message", ""))
        self.assertEqual([], client.say(pb.CommandScalableTopicClose(session_id=1), pb.CommandSuccess(request_id=1)))
        self.assertEqual(client.say(pb.CommandPing()), [pb.CommandPong()])

    def test_bad_bytes(self) -> None:
        """An invalid frame, an invalid command, and one out of order close the connection; later bytes are ignored."""
        ping = write(pb.CommandPing())
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n",
            bytes.fromhex("00000006 00000002 ffff"),
            write(CONNECT),
            write(pb.CommandSend(producer_id=0, sequence_id=0), encode_section(b"", b"no metadata")),
        ):
            client = self.client()
            client.end.dataReceived(ping + bad + ping)
            client.end.dataReceived(ping)
            self.assertTrue(client.transport.disconnecting, bad)
            self.assertEqual(client.heard(), [pb.CommandPong()])

    def test_connect_first(self) -> None:
        """A command before CONNECT gets no answer."""
        client = Client(self.broker)
        self.assertEqual(client.say(pb.CommandPing()), [])
        self.assertTrue(client.transport.disconnecting)

    def test_consumer_on_its_way_out(self) -> None:
        """A consumer whose connection is closing gets nothing; the next consumer does."""
        client, producer = self.consumer(), self.producer()
        client.heard()
        client.end.dataReceived(b"\xff" * 8)
        producer.publish(b"late")
        self.assertEqual(client.heard(), [])
        client.lose()
        self.assertEqual(self.consumer().payloads, [b"late"])

    @given(st.lists(st.binary(max_size=30), max_size=4))
    def test_any_command(self, commands: list[bytes]) -> None:
        """Any commands raise nothing; the connection stays open or is closed."""
        client = self.producer()
        for command in commands:
            size = len(command)
            client.end.dataReceived((size + 4).to_bytes(4, "big") + size.to_bytes(4, "big") + command)
        client.lose()
        self.assertEqual(self.broker.connections, [])

    @given(
        st.sampled_from(
            [
                subscribe(),
                subscribe(THEIRS),
                pb.CommandSeek(consumer_id=5, request_id=1),
                pb.CommandProducer(topic=OURS, producer_id=1, request_id=1),
                pb.CommandGetSchema(topic=OURS, request_id=1),
                pb.CommandGetOrCreateSchema(topic=OURS, request_id=1),
                pb.CommandRedeliverUnacknowledgedMessages(consumer_id=5),
                pb.CommandAck(consumer_id=5, ack_type=pb.CommandAck.Cumulative),
                pb.CommandAuthResponse(),
            ]
        ),
        st.integers(1, 12),
        st.binary(max_size=20),
    )
    def test_any_hidden_field(self, command: Any, field: int, data: bytes) -> None:
        """Any bytes in any field raise nothing."""
        client = self.consumer()
        body = command.SerializeToString() + bytes([field << 3 | 2, len(data)]) + data
        (number,) = (
            each.number for each in pb.BaseCommand.DESCRIPTOR.fields if each.message_type == command.DESCRIPTOR
        )
        client.end.dataReceived(encode(bytes([8, number]) + varint(number << 3 | 2) + varint(len(body)) + body))
        client.lose()

    def test_events(self) -> None:
        """The optional observer gets each command."""
        client = self.producer()
        client.publish(b"hello")
        client.lose()
        self.assertEqual([seen.command for seen in self.seen], ["CONNECT", "PRODUCER", "SEND", "closed"])


class LoginTests(BrokerCase):
    """Tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.state.tokens = {"secret"}

    def test_accepted(self) -> None:
        """A client with a token is accepted; its credentials are known, but are not among the received commands."""
        client = Client(self.broker)
        [connected] = client.say(by_token("secret").connect())
        self.assertIsInstance(connected, pb.CommandConnected)
        self.assertEqual(("token", b"secret"), (client.end.auth_method, client.end.auth_data))
        [command] = self.broker.commands
        self.assertIsNone(bytes_of(command.fields, 3))
        self.assertNotIn("secret", repr(self.broker.commands) + str(command.fields))

    def test_refused(self) -> None:
        """A client with another token, or without one, gets an error and is closed."""
        for command in (by_token("other").connect(), CONNECT):
            client = Client(self.broker)
            [error] = client.say(command)
            self.assertEqual((NO_REQUEST, pb.AuthenticationError), (error.request_id, error.error))
            self.assertTrue(client.transport.disconnecting)

    def answer(self, token: bytes) -> Client:
        """A client that is asked for new credentials, and answers."""
        client = Client(self.broker)
        client.say(by_token("secret").connect())
        client.end.challenge()
        [challenge] = client.heard()
        self.assertEqual(
            (b"PulsarAuthRefresh", "token"), (bytes_of(challenge.challenge, 2), challenge.challenge.auth_method_name)
        )
        answer = pb.CommandAuthResponse(response=pb.AuthData(auth_method_name="token"))
        add_bytes(answer.response, 2, token)
        client.say(answer)
        return client

    def test_challenge(self) -> None:
        """A client with new valid credentials stays; with others it is closed."""
        self.state.tokens = {"secret", "new"}
        client = self.answer(b"new")
        self.assertEqual((b"new", False), (client.end.auth_data, client.transport.disconnecting))
        self.assertNotIn("new", str([command.fields for command in self.broker.commands]))
        self.assertTrue(self.answer(b"old").transport.disconnecting)


class FaultTests(BrokerCase):
    """Faults at commands."""

    def fault(self, command: str, action: Action, **more: Any) -> None:
        self.broker._faults.add(BrokerFault(command, action, **more))

    def test_drop(self) -> None:
        """A dropped command of the broker is not sent; one of the client is not handled, but is among the received."""
        self.fault("PONG", Action.DROP)
        self.fault("SEND", Action.DROP)
        client = self.producer()
        self.assertEqual([], client.say(pb.CommandPing()))
        self.assertEqual([], client.publish(b"x"))
        self.assertEqual(0, self.state.topics[OURS].end)
        self.assertEqual("SEND", self.broker.commands[-1].type)

    def test_delay(self) -> None:
        """A delayed command is sent or handled later; others overtake it."""
        self.fault("SEND_RECEIPT", Action.DELAY, seconds=0.5, left=1)
        client = self.producer()
        self.assertEqual([], client.publish(b"x"))
        self.assertEqual(1, len(client.publish(b"y")))
        self.clock.advance(0.5)
        self.assertEqual(0, client.heard()[0].message_id.entryId)

    def test_delayed_to_the_end(self) -> None:
        """What is delayed when the connection ends is not sent, and leaves no timer."""
        self.fault("PONG", Action.DELAY, seconds=5)
        client = self.client()
        client.say(pb.CommandPing())
        client.lose()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_delayed_in_a_closing_connection(self) -> None:
        """A delayed command is not handled by a connection that is closing."""
        self.fault("PRODUCER", Action.DELAY, seconds=5)
        client = self.producer()
        client.end.dataReceived(b"\xff" * 8)
        self.clock.advance(5)
        self.assertEqual({}, client.end.session.producers)

    def test_delayed_and_bad(self) -> None:
        """A delayed command that turns out to be invalid closes the connection."""
        self.fault("SUBSCRIBE", Action.DELAY, seconds=5, left=1, skip=1)
        client = self.consumer()
        client.say(subscribe())
        self.assertFalse(client.transport.disconnecting)
        self.clock.advance(5)
        self.assertTrue(client.transport.disconnecting)

    def test_many_delayed(self) -> None:
        """A connection with too many delayed commands is closed."""
        self.patch(connection, "MAX_DELAYED", 2)
        self.fault("PONG", Action.DELAY, seconds=5)
        client = self.client()
        client.say(*[pb.CommandPing()] * 2)
        self.assertFalse(client.transport.disconnecting)
        client.say(pb.CommandPing())
        self.assertTrue(client.transport.disconnecting)

    def test_reset(self) -> None:
        """A connection is reset in place of the third receipt."""
        self.fault("SEND_RECEIPT", Action.RESET, skip=2, left=1)
        client = self.producer()
        for aborted in (False, False, True):
            client.publish(b"x")
            self.assertEqual(aborted, client.transport.aborted)
        self.assertEqual(3, self.state.topics[OURS].end)

    def test_half_close(self) -> None:
        """After a half-close nothing is sent, but commands are handled; the end of the connection still works."""
        self.fault("PONG", Action.HALF_CLOSE)
        client = self.producer()
        self.assertEqual([], client.say(pb.CommandPing()))
        self.assertEqual((True, False), (client.transport.half_closed, client.transport.aborted))
        self.assertEqual([], client.publish(b"x"))
        self.assertEqual(1, self.state.topics[OURS].end)
        client.end.half_close()
        client.end.dataReceived(b"\xff" * 8)
        self.assertTrue(client.transport.disconnecting)

    def test_refuse(self) -> None:
        """A refused command gets an error, and is not handled; a refused CONNECT also ends the connection."""
        self.fault("PRODUCER", Action.REFUSE, error=pb.ProducerBusy, message="no", left=1)
        client = self.client()
        [error] = client.say(pb.CommandProducer(topic=OURS, producer_id=0, request_id=3))
        self.assertEqual((3, pb.ProducerBusy, "no"), (error.request_id, error.error, error.message))
        self.fault("CONNECT", Action.REFUSE, error=pb.ServiceNotReady)
        other = Client(self.broker)
        self.assertEqual(pb.ServiceNotReady, other.say(CONNECT)[0].error)
        self.assertTrue(other.transport.disconnecting)

    def test_topic(self) -> None:
        """A fault of a topic happens at its own commands and at their answers."""
        self.fault("LOOKUP_RESPONSE", Action.DROP, topic=THEIRS)
        answers = self.client().say(*(pb.CommandLookupTopic(topic=topic, request_id=1) for topic in (OURS, THEIRS)))
        self.assertEqual(1, len(answers))
        self.fault("MESSAGE", Action.DROP, topic=OURS)
        client = self.producer()
        client.say(subscribe(), flow())
        client.publish(b"x")
        self.assertEqual([], client.payloads)


class BackpressureTests(BrokerCase):
    """Clients that do not read, and brokers that do not."""

    def test_full(self) -> None:
        """A client that does not read gets no more messages, and its commands are not read; later it gets them."""
        client, producer = self.consumer(), self.producer()
        client.heard()
        client.end.pauseProducing()
        producer.publish(b"one")
        self.assertEqual(([], "paused"), (client.heard(), client.transport.producerState))
        client.end.resumeProducing()
        client.heard()
        self.assertEqual(([b"one"], "producing"), (client.payloads, client.transport.producerState))
        client.end.stopProducing()

    def test_stop_reading(self) -> None:
        """A broker that stops reading reads neither from present nor from new clients, sends no PINGs, and resumes."""
        client = self.client()
        self.broker.stop_reading()
        later = Client(self.broker)
        self.assertEqual(["paused"] * 2, [each.transport.producerState for each in (client, later)])
        self.clock.advance(KEEP_ALIVE_S)
        self.assertEqual(([], False), (client.heard(), client.transport.disconnecting))
        client.end.pauseProducing()
        self.broker.stop_reading(False)
        self.assertEqual(["paused", "producing"], [each.transport.producerState for each in (client, later)])
        client.end.resumeProducing()
        self.assertEqual("producing", client.transport.producerState)

    def test_closing(self) -> None:
        """A connection that is closing is not paused or resumed."""
        client = self.client()
        client.end.dataReceived(b"\xff" * 8)
        client.end.pauseProducing()
        self.assertEqual("producing", client.transport.producerState)
        self.assertTrue(METADATA)
