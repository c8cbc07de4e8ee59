"""Conversations of the demo's client and brokers, without TLS."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sniproxy import ctl
from sniproxy.cli.conversation.record import record_live, recording_of
from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.lookups import Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.pulsar.serviceurl import parse_service_url
from sniproxy.testing.pulsar import PulsarCluster

reactor: Any = global_reactor
TOPIC = "persistent://public/default/my-topic"
TIMEOUT_S = 60.0
"""For each step, however slow the machine is."""


class Announced(StringIO):
    """Standard error; ``url`` fires with the first URL of a scheme that is printed."""

    def __init__(self, scheme: str = "pulsar://") -> None:
        super().__init__()
        self._scheme = scheme
        self.url: Deferred[str] = Deferred()

    def write(self, text: str) -> int:
        at = text.find(self._scheme)
        if at >= 0 and not self.url.called:
            self.url.callback(text[at:].split(";")[0].split()[0])
        return super().write(text)


async def round_trip(url: str, topic: str = TOPIC, payload: bytes = b"hello", subscription: str = "tour") -> bytes:
    """Find the owner of a topic, publish a message there and receive it."""
    service = parse_service_url(url)
    brokers = Brokers(reactor, Access(tls=False, timeout_s=TIMEOUT_S))
    try:
        lookups = Lookups(brokers, service)
        await lookups.partitions(topic)
        owner = await lookups.owner(topic)
        found = parse_service_url(owner.url)
        session = await brokers.link(*found.hosts[0]).open()
        consumer = await subscribe(session, topic, subscription)
        await (await produce(session, topic)).send(payload)
        got = await consumer.receive()
        consumer.acknowledge(got)
        await consumer.close()
        await brokers.close()
    except BaseException:
        brokers.abort()
        raise
    return got.payload


class DemoCase(TestCase):
    """Tests with one plaintext demo broker."""

    timeout = 120

    def cluster(self) -> str:
        """Start a broker. @return: its host and port."""
        cluster = PulsarCluster(1, reactor=reactor)
        cluster.start()
        self.addCleanup(cluster.stop)
        host, port = cluster.addresses["broker-1.pulsar.test"]
        return f"{host}:{port}"

    async def record(self, *words: str, payload: bytes = b"hello", target: str = "", topic: str = TOPIC) -> Path:
        """Record a conversation of the demo's client. @param target: empty: a cluster of its own. @return: the file."""
        file = Path(self.mktemp())
        options = ctl.parse(
            ["record", "--target", target or self.cluster(), "-o", str(file), "--connections", "1", *words]
        )
        error = Announced()
        host, _, port = options.target.partition(":")
        running = Deferred.fromCoroutine(record_live(options, (host, int(port)), recording_of(options), error, reactor))
        self.addCleanup(running.cancel)
        url = await error.url.addTimeout(TIMEOUT_S, reactor)
        self.assertEqual(payload, await round_trip(url, topic, payload))
        self.assertEqual(0, await running.addTimeout(TIMEOUT_S, reactor))
        self.error = error.getvalue()
        return file
