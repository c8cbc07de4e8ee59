"""Tests for sniproxy.testing.pulsar.broker."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import broker as module
from sniproxy.testing.pulsar.broker import BrokerEvent, EmbeddedBroker
from tests.testing.pulsar.embedded import B1, CONNECT, OURS, THEIRS, URLS, BrokerCase, Client, subscribe


class BrokerTests(BrokerCase):
    """EmbeddedBroker: what clients did, and faults as calls."""

    def look_up(self, client: Client, topic: str = OURS) -> Any:
        [answer] = client.say(pb.CommandLookupTopic(topic=topic, request_id=9))
        return answer

    def test_client_address(self) -> None:
        """A connection has the client's address and port."""
        connections = [
            self.broker.factory.buildProtocol(address)
            for address in (IPv4Address("TCP", "127.0.0.1", 7), UNIXAddress("/x"))
        ]
        self.assertEqual("127.0.0.1:7", connections[0].client if connections[0] else "")
        self.assertIn("/x", connections[1].client if connections[1] else "")

    def test_url(self) -> None:
        """A broker has the URL that lookups return; before its cluster has started, it has none."""
        self.assertEqual(URLS[B1], self.broker.url)
        self.assertEqual("", EmbeddedBroker("other", self.state, self.clock).url)

    def test_connections(self) -> None:
        """The open connections are listed; too many are refused."""
        self.patch(module, "MAX_CONNECTIONS", 2)
        one, two = self.client(), self.client()
        self.assertEqual({one.end, two.end}, set(self.broker.connections))
        self.assertIsNone(self.broker.factory.buildProtocol(None))
        one.lose()
        self.assertEqual([two.end], self.broker.connections)

    def test_commands(self) -> None:
        """The received commands have their type, fields, client and topic, until they are forgotten."""
        client = self.producer()
        client.publish(b"x", sequence=3)
        self.assertEqual(["CONNECT", "PRODUCER", "SEND"], [each.type for each in self.broker.commands])
        sent = self.broker.commands[-1]
        self.assertEqual((OURS, 3, client.end.client), (sent.topic, sent.fields.sequence_id, sent.client))
        self.broker.forget_commands()
        self.assertEqual([], self.broker.commands)

    def test_saw(self) -> None:
        """A test waits for commands."""
        client = self.producer()
        waiting = self.broker.saw("SEND", 2, lambda each: each.topic == OURS)
        client.publish(b"x")
        self.assertNoResult(waiting)
        client.publish(b"y")
        self.assertEqual(2, len(self.successResultOf(waiting)))
        self.assertRaisesRegex(RuntimeError, "await saw", self.broker.wait_for, "SEND")

    def test_refuse(self) -> None:
        """A refused lookup gets the error, as often as wanted; only commands of clients can be refused."""
        client = self.client()
        self.broker.refuse_lookups("TooManyRequests", times=2)
        kinds = pb.CommandLookupTopicResponse
        found = [self.look_up(client) for _ in range(3)]
        self.assertEqual([kinds.Failed, kinds.Failed, kinds.Connect], [answer.response for answer in found])
        self.assertEqual((pb.TooManyRequests, "refused by the test"), (found[0].error, found[0].message))
        self.broker.refuse_lookups(topic=THEIRS)
        self.assertEqual(kinds.Connect, self.look_up(client).response)
        self.assertEqual(pb.ServiceNotReady, self.look_up(client, THEIRS).error)
        self.assertRaises(ValueError, self.broker.refuse, "PONG", "UnknownError")
        self.assertRaises(ValueError, self.broker.refuse, "LOOKUP", "Nope")

    def test_at_commands(self) -> None:
        """Commands are dropped and delayed, and connections are reset or half-closed at them, until that is undone."""
        client = self.client()
        self.broker.drop("PONG", times=1)
        self.broker.delay("PONG", 2.0, times=1)
        self.assertEqual([], client.say(pb.CommandPing(), pb.CommandPing()))
        self.clock.advance(2.0)
        self.assertEqual([pb.CommandPong()], client.heard())
        self.broker.reset_at("PONG", half=True)
        client.say(pb.CommandPing())
        self.assertTrue(client.transport.half_closed)
        other = self.client()
        self.broker.drop("PONG")
        self.broker.clear_faults()
        self.assertEqual([pb.CommandPong()], other.say(pb.CommandPing()))
        self.broker.reset_at("PONG")
        other.say(pb.CommandPing())
        self.assertTrue(other.transport.aborted)

    def test_connections_chosen(self) -> None:
        """Connections are reset, half-closed and challenged, one or all."""
        one, two, three = self.client(), self.client(), self.client()
        self.broker.challenge(one.end)
        self.assertEqual([1, 0, 0], [len(each.heard()) for each in (one, two, three)])
        self.broker.half_close(two.end)
        self.assertEqual([False, True, False], [each.transport.half_closed for each in (one, two, three)])
        self.broker.reset(three.end)
        self.assertEqual([False, False, True], [each.transport.aborted for each in (one, two, three)])
        self.broker.reset()
        self.assertTrue(one.transport.aborted and two.transport.aborted)

    def test_close(self) -> None:
        """The producers and consumers of a topic are closed, and those of others are not."""
        client = self.producer()
        other = next(name for n in range(99) if self.state.owner(name := f"other-{n}") == B1)
        client.say(pb.CommandProducer(topic=other, producer_id=1, request_id=1))
        client.say(subscribe(), subscribe(other, consumer_id=6))
        self.broker.close_producers(OURS, "pulsar://x:1")
        self.assertEqual([(0, "pulsar://x:1")], [(c.producer_id, c.assignedBrokerServiceUrl) for c in client.heard()])
        self.broker.close_consumers(OURS)
        self.assertEqual([5], [closing.consumer_id for closing in client.heard()])
        self.broker.migrate(other, "pulsar://blue:1")
        names = [type(each).__name__ for each in client.heard()]
        migrated = "CommandTopicMigrated"
        self.assertEqual([migrated, "CommandCloseProducer", migrated, "CommandCloseConsumer"], names)
        self.assertEqual([], list(client.end.session.producers) + list(client.end.session.consumers))
        self.broker.migrate(OURS, "pulsar://blue:1")
        self.assertEqual([], client.heard())

    def test_close_partitions(self) -> None:
        """A short name is the full one; what is done to a partitioned topic is done to its partitions."""
        names = [f"persistent://public/default/t-partition-{n}" for n in range(20)]
        ours = [name for name in names if self.state.owner(name) == B1]
        client = self.client()
        for number, name in enumerate(ours):
            client.say(pb.CommandProducer(topic=name, producer_id=number, request_id=number))
            client.say(subscribe(name, consumer_id=number))
        self.broker.close_producers("t-partition-99")
        self.broker.close_producers("t")
        self.assertEqual(list(range(len(ours))), [closing.producer_id for closing in client.heard()])
        self.broker.migrate("t", "pulsar://blue:1")
        self.assertEqual(2 * len(ours), len(client.heard()))
        self.assertEqual({}, client.end.session.consumers)

    def test_wrong_numbers(self) -> None:
        """A call with a wrong number fails at once."""
        for call in (
            lambda: self.broker.delay("PONG", -1.0),
            lambda: self.broker.drop("PONG", skip=-1),
            lambda: self.broker.reset_at("PONG", times=-1),
            lambda: self.broker.refuse_lookups(times=-1),
        ):
            self.assertRaises(ValueError, call)
        self.assertEqual([pb.CommandPong()], self.client().say(pb.CommandPing()))

    def test_stop(self) -> None:
        """A stop resets all connections, and fires when they are closed."""
        client = self.client()
        stopped = self.broker.stop()
        self.assertNoResult(stopped)
        self.assertTrue(client.transport.aborted)
        client.lose()
        self.successResultOf(stopped)

    def test_observer(self) -> None:
        """The observer gets events with the broker's name; it is optional."""
        self.look_up(self.client())
        self.assertEqual(BrokerEvent(B1, "LOOKUP", OURS), self.seen[-1])
        quiet = Client(EmbeddedBroker(B1, self.state, self.clock))
        self.assertEqual(len(quiet.say(CONNECT)), 1)
