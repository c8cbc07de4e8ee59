"""Tests for short names of topics, and for partitioned topics, in the calls of a cluster."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.lookups import Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.pulsar.serviceurl import parse_service_url
from sniproxy.testing.pulsar import PulsarCluster
from tests.support.reactor import reactor

SECONDS = 60
ORDERS = "persistent://public/default/orders"


class NameTests(TestCase):
    """PulsarCluster with a client that uses full names, and a test that uses short ones."""

    timeout = 120

    def cluster(self, **keys: Any) -> PulsarCluster:
        cluster = PulsarCluster(reactor=reactor, **keys)
        cluster.start()
        self.addCleanup(cluster.stop)
        self.brokers = Brokers(reactor, Access(tls=False, timeout_s=SECONDS))
        self.addCleanup(self.brokers.close)
        self.lookups = Lookups(self.brokers, parse_service_url(cluster.service_url))
        return cluster

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a message, and read it without an acknowledgement."""
        owner = await self.lookups.owner(topic)
        session = await self.brokers.link(*parse_service_url(owner.url).hosts[0]).open()
        await (await produce(session, topic)).send(payload)
        consumer = await subscribe(session, topic, "s", earliest=True)
        self.assertEqual(payload, (await consumer.receive()).payload)

    async def test_short(self) -> None:
        """A short name is the full one."""
        cluster = self.cluster()
        one = cluster.owner("orders")
        other = next(broker for broker in cluster.brokers if broker is not one)
        self.assertIs(one, cluster.owner(ORDERS))
        cluster.move("orders", other)
        self.assertIs(other, cluster.owner(ORDERS))
        await self.publish(ORDERS, b"x")
        self.assertEqual(([b"x"], {"s": 1}), (cluster.messages("orders"), cluster.subscriptions("orders")))
        self.assertEqual(([], {}), (cluster.messages("order"), cluster.subscriptions("order")))

    async def test_partitioned(self) -> None:
        """A partitioned topic is its partitions: it has their messages, and moves with them."""
        cluster = self.cluster(partitions={"orders": 2})
        self.assertEqual(2, await self.lookups.partitions(ORDERS))
        two = cluster.brokers[1]
        cluster.redirect("orders", two)
        cluster.move("orders", two)
        for number in (1, 0):
            await self.publish(f"{ORDERS}-partition-{number}", b"%d" % number)
        self.assertEqual(2, len([each for each in two.commands if each.type == "PRODUCER"]))
        self.assertEqual([b"0", b"1"], cluster.messages("orders"))
        self.assertEqual([b"1"], cluster.messages("orders-partition-1"))
        self.assertEqual({"s": 2}, cluster.subscriptions("orders"))
        cluster.set_partitions("orders", 3)
        self.assertEqual(3, await self.lookups.partitions(ORDERS))
