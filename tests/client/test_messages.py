"""Tests for sniproxy.client.messages, with real sockets."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.messages import produce, subscribe
from sniproxy.client.session import BrokerSession
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode_section
from sniproxy.testing.pulsar import PulsarCluster
from tests.client.scripted import Script, Scripted, polite
from tests.support.reactor import reactor
from tests.support.tlsservers import listen

TOPIC = "persistent://public/default/t"


class MessagesCase(TestCase):
    """Has sessions."""

    timeout = 120

    async def session(self, host: str, port: int, **keys: Any) -> BrokerSession:
        brokers = Brokers(reactor, Access(tls=False, **keys))
        self.addCleanup(brokers.abort)
        return await brokers.link(host, port).open()

    async def fails(self, waiting: Awaitable[Any], kind: FailureKind) -> ClientError:
        try:
            await waiting
        except ClientError as failure:
            self.assertEqual(failure.kind, kind, str(failure))
            return failure
        self.fail("it did not fail")
        raise AssertionError


class ClusterTests(MessagesCase):
    """Producers and consumers with a demo broker."""

    async def test_ids(self) -> None:
        """Producers and consumers are numbered by connection: those of other connections take no numbers."""
        cluster = PulsarCluster(["b1.test"], reactor=reactor)
        cluster.start()
        self.addCleanup(cluster.stop)
        for _ in range(2):
            session = await self.session(*cluster.addresses["b1.test"], timeout_s=5)
            producer, consumer = await produce(session, TOPIC), await subscribe(session, TOPIC, "s")
            self.assertEqual((1, 2), (producer._number, consumer._number))
            await consumer.close()

    async def test_there_and_back(self) -> None:
        """Messages are received in order, from the earliest or the latest; acknowledged ones are not redelivered."""
        cluster = PulsarCluster(["b1.test"], reactor=reactor)
        cluster.start()
        self.addCleanup(cluster.stop)
        session = await self.session(*cluster.addresses["b1.test"], timeout_s=5)
        producer = await produce(session, TOPIC)
        sent = [await producer.send(payload) for payload in (b"one", b"two")]
        consumer = await subscribe(session, TOPIC, "s", earliest=True)
        late = await subscribe(session, TOPIC, "late")
        got = [await consumer.receive(), await consumer.receive()]
        self.assertEqual(got, sent)
        self.assertNotIn("one", repr(got))
        sent.append(await producer.send(b"three"))
        self.assertEqual(await late.receive(), sent[2])
        for message in got:
            consumer.acknowledge(message)
        await consumer.close()
        again = await subscribe(session, TOPIC, "s")
        self.assertEqual(await again.receive(), sent[2])
        await self.fails(subscribe(session, TOPIC, "s"), FailureKind.REFUSED)
        await again.unsubscribe()
        anew = await subscribe(session, TOPIC, "s", earliest=True)
        self.assertEqual(await anew.receive(), sent[0])
        await producer.close()


class ScriptedTests(MessagesCase):
    """Unusual answers of brokers."""

    async def at(self, script: Script, **keys: Any) -> tuple[BrokerSession, Scripted]:
        factory = Scripted(polite(script))
        return await self.session(*listen(self, factory, None), **keys), factory

    @staticmethod
    def accepted(name: str, fields: Any) -> Any:
        if name == "PRODUCER":
            return [pb.CommandProducerSuccess(request_id=fields.request_id, producer_name="p")]
        if name == "SUBSCRIBE":
            return [pb.CommandSuccess(request_id=fields.request_id)]
        return None

    async def test_send_refused(self) -> None:
        """A refused message and a moved topic are failures."""

        def script(name: str, fields: Any) -> Any:
            if fields.producer_id and name == "SEND" and fields.sequence_id == 0:
                failed = pb.CommandSendError(producer_id=fields.producer_id, sequence_id=0)
                failed.error, failed.message = pb.ProducerBlockedQuotaExceededError, "full"
                return [failed]
            if name == "SEND":
                return [pb.CommandCloseProducer(producer_id=fields.producer_id, request_id=1)]
            return self.accepted(name, fields)

        session, _ = await self.at(script)
        producer = await produce(session, TOPIC)
        self.assertIn("full", (await self.fails(producer.send(b"x"), FailureKind.REFUSED)).reason)
        self.assertIn(
            "the broker closed the producer", (await self.fails(producer.send(b"x"), FailureKind.CLOSED)).reason
        )

    async def test_receive(self) -> None:
        """A closed consumer and unsupported messages are failures."""
        plain = pb.MessageMetadata(producer_name="p", sequence_id=1, publish_time=1)
        batch = pb.MessageMetadata(producer_name="p", sequence_id=1, publish_time=1, num_messages_in_batch=1)
        compressed = pb.MessageMetadata.FromString(plain.SerializeToString() + bytes([8 << 3, 1]))
        uncompressed = pb.MessageMetadata.FromString(plain.SerializeToString() + bytes([8 << 3, 0]))
        sections = [
            encode_section(uncompressed.SerializeToString(), b"good"),
            encode_section(batch.SerializeToString(), b"bad"),
            encode_section(compressed.SerializeToString(), b"bad"),
            b"\xff\xff\xff\xff",
            encode_section(b"\xff", b"bad"),
        ]
        pending = list(sections)

        def script(name: str, fields: Any) -> Any:
            if name == "FLOW":
                if not pending:
                    return [pb.CommandCloseConsumer(consumer_id=fields.consumer_id, request_id=1)]
                where = pb.MessageIdData(ledgerId=1, entryId=2)
                return [write(pb.CommandMessage(consumer_id=fields.consumer_id, message_id=where), pending.pop(0))]
            return self.accepted(name, fields)

        session, _ = await self.at(script)
        consumer = await subscribe(session, TOPIC, "s")
        self.assertEqual((await consumer.receive()).payload, b"good")
        for _ in sections[1:]:
            await self.fails(consumer.receive(), FailureKind.NOT_PULSAR)
        self.assertIn(
            "the broker closed the consumer", (await self.fails(consumer.receive(), FailureKind.CLOSED)).reason
        )

    async def test_one_permit(self) -> None:
        """A receive that times out leaves its permit at the broker; the next one sends none."""

        def script(name: str, fields: Any) -> Any:
            if name == "UNSUBSCRIBE":
                return [pb.CommandSuccess(request_id=fields.request_id)]
            return self.accepted(name, fields) or []

        session, factory = await self.at(script)
        consumer = await subscribe(session, TOPIC, "s")
        patience, session.timeout_s = session.timeout_s, 0.01
        for _ in range(2):
            await self.fails(consumer.receive(), FailureKind.TIMEOUT)
        session.timeout_s = patience
        await consumer.unsubscribe()
        flows = [name for name, _ in factory.heard if name == "FLOW"]
        self.assertEqual(flows, ["FLOW"])
