"""The project's own client, and ``sniproxyctl lookup``, through an SNI proxy to two real brokers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.logins import CERTIFICATE, NO_LOGIN, Login, by_token
from sniproxy.client.lookups import Hop, Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.client.topics import partitions
from sniproxy.pulsar.serviceurl import pip60
from sniproxy.tls.clientcontext import client_certificate, trust_root
from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import free_ports
from tests.peers.material import CLIENT_ROLE, SERVICE_NAME, UNCERTIFIED_NAME
from tests.peers.proxy import Proxy
from tests.support.reactor import reactor

URL = f"pulsar+ssl://{SERVICE_NAME}:6651"


class TalkTests(PulsarTestCase, TestCase):
    """The client core: lookups and messages."""

    timeout = 180

    def client(self, proxy: Proxy, login: Login = NO_LOGIN, certified: bool = False) -> Lookups:
        """A client for lookups through the proxy; it records hops in `hops`, and its links are in `brokers`."""
        settings = pip60(URL, proxy.url, "SNI")
        material = self.lab.material
        certificate = client_certificate(material.client.certificate, material.client.key) if certified else None
        access = Access(True, settings.proxy, trust_root(material.trust), certificate, login)
        self.brokers = Brokers(reactor, access)
        # So that the proxy, which stops next, has no connection left to drain.
        self.addCleanup(self.brokers.close)
        self.hops: list[Hop] = []
        return Lookups(self.brokers, settings.service_url, on_hop=self.hops.append)

    async def there_and_back(self, lookups: Lookups, topic: str) -> str:
        """Produce two messages at the topic's owner, and consume them. Returns the owner's name."""
        link = await lookups.connect(topic, await lookups.owner(topic))
        session = await link.open()
        consumer = await subscribe(session, topic, "sniproxy", earliest=True)
        producer = await produce(session, topic)
        sent = [await producer.send(payload) for payload in (b"one", b"x" * 300_000)]
        got = [await consumer.receive(), await consumer.receive()]
        self.assertEqual(got, sent)
        for message in got:
            consumer.acknowledge(message)
        await producer.close()
        await consumer.close()
        return link.host

    async def test_both_phases(self) -> None:
        """Topics of both brokers are used at their owners, each by its own server name."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/own")
        proxy = self.proxy(lab.routes(cluster))
        lookups = self.client(proxy)
        for name, topic in topics.items():
            self.assertEqual(await lookups.partitions(topic), 0)
            self.assertEqual(await self.there_and_back(lookups, topic), name)
        await self.brokers.close()
        self.assertEqual(set(proxy.names(SERVICE_NAME, *topics)), {SERVICE_NAME, *topics})

    async def test_partitions(self) -> None:
        """Each partition of a topic is used at its owner."""
        cluster = self.lab.cluster
        cluster.admin("PUT", "/admin/v2/persistent/public/default/own-partitioned/partitions", 4)
        topic = "persistent://public/default/own-partitioned"
        lookups = self.client(self.proxy(lab.routes(cluster)))
        count = await lookups.partitions(topic)
        self.assertEqual(count, 4)
        for partition in partitions(topic, count):
            await self.there_and_back(lookups, partition)

    async def test_redirect(self) -> None:
        """A redirect to the leader is followed with the leader's server name."""
        cluster = self.lab.cluster
        cluster.create_namespace("public/own-redirects")
        leader = cluster.leader()
        (other,) = [broker for broker in cluster.brokers if broker is not leader]
        proxy = self.proxy({**lab.routes(cluster), SERVICE_NAME: [f"127.0.0.1:{other.tls}"]})
        lookups = self.client(proxy)
        await self.there_and_back(lookups, "persistent://public/own-redirects/t")
        redirects = [hop for hop in self.hops if hop.answer == "redirect"]
        self.assertEqual(redirects[0].link.host, SERVICE_NAME)
        self.assertIn(leader.name, redirects[0].url or "")
        self.assertEqual(self.hops[1].link.host, leader.name)
        await self.brokers.close()
        self.assertIn(leader.name, proxy.names(SERVICE_NAME, leader.name))

    def secured(self, name: str, role: str) -> tuple[Proxy, str]:
        """A namespace at brokers with authentication, in which the role has its permissions."""
        cluster = self.lab.secured
        cluster.create_namespace(f"public/{name}")
        cluster.allow(f"public/{name}", role)
        return self.proxy(lab.routes(cluster)), f"persistent://public/{name}/t"

    async def test_client_certificate(self) -> None:
        """A broker takes the role from the client's certificate."""
        proxy, topic = self.secured("own-certified", CLIENT_ROLE)
        await self.there_and_back(self.client(proxy, CERTIFICATE, certified=True), topic)

    async def test_token(self) -> None:
        """A broker takes the role from a token."""
        proxy, topic = self.secured("own-token", "app")
        token = by_token(self.lab.material.tokens["app"].read_text())
        await self.there_and_back(self.client(proxy, token, certified=True), topic)

    async def test_refused(self) -> None:
        """A forged token, a role without permissions, and a missing client certificate are different failures."""
        proxy, topic = self.secured("own-refused", "app")
        for login, certified, kind in (
            (by_token(self.lab.material.bad_token.read_text()), True, FailureKind.AUTHENTICATION),
            (CERTIFICATE, True, FailureKind.AUTHORIZATION),
            (NO_LOGIN, False, FailureKind.TLS_REFUSED),
        ):
            lookups = self.client(proxy, login, certified)
            try:
                await lookups.owner(topic)
            except ClientError as failure:
                self.assertEqual(failure.kind, kind, str(failure))
            else:
                self.fail(f"not {kind.name}")


class ProgramTests(PulsarTestCase):
    """``sniproxyctl lookup`` in a process of its own."""

    def look_up(self, proxy: Proxy, topic: str, *more: str) -> tuple[int, dict[str, Any], str]:
        """Run the command. Returns its exit status, its JSON and its standard error."""
        command = [str(Path(sys.executable).with_name("sniproxyctl")), "lookup", topic, "--json"]
        command += ["--service-url", URL, "--proxy-service-url", proxy.url, "--proxy-protocol", "SNI"]
        command += ["--trust", str(self.lab.material.trust), "--timeout", "20", *more]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.assertNotIn("Traceback", ran.stderr)
        return ran.returncode, json.loads(ran.stdout), ran.stderr

    def fails(self, kind: FailureKind, proxy: Proxy, topic: str = "persistent://public/default/t", *more: str) -> str:
        """Assert a failure of this kind. Returns its message."""
        status, document, said = self.look_up(proxy, topic, *more)
        self.assertEqual((status, document["failure"]["kind"]), (int(kind), kind.name.lower()), said)
        return said

    def test_good(self) -> None:
        """It finds the same owners as the admin API."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/told")
        proxy = self.proxy(lab.routes(cluster))
        for name, topic in topics.items():
            status, document, said = self.look_up(proxy, topic)
            self.assertEqual((status, said), (0, ""))
            (owner,) = document["owners"]
            self.assertEqual((owner["topic"], owner["url"].split(":")[1]), (topic, f"//{name}"))
            self.assertEqual((document["hops"][-1]["phase"], document["hops"][-1]["server_name"]), ("connect", name))
            self.assertIn(SERVICE_NAME, document["hops"][0]["certificate_names"])
            self.assertEqual(document["warnings"], [])

    def test_proxy_failures(self) -> None:
        """A missing route, a missing certificate, a broker that is down and a plaintext port are different failures."""
        cluster = self.lab.cluster
        (down,) = free_ports(1)
        targets = lab.routes(cluster)[SERVICE_NAME]
        proxy = self.proxy({
            UNCERTIFIED_NAME: targets,
            "down.pulsar.test": [f"127.0.0.1:{down}"],
            "plain.pulsar.test": [f"127.0.0.1:{cluster.brokers[0].plain}"],
        })  # fmt: skip
        topic = "persistent://public/default/t"
        self.assertIn(f"add a route for {SERVICE_NAME}", self.fails(FailureKind.NO_ROUTE, proxy))
        for host, kind in (
            (UNCERTIFIED_NAME, FailureKind.CERTIFICATE_NAME),
            ("down.pulsar.test", FailureKind.CLOSED),
            ("plain.pulsar.test", FailureKind.CLOSED),
        ):
            self.fails(kind, proxy, topic, "--service-url", f"pulsar+ssl://{host}")

    def test_broker_failures(self) -> None:
        """A missing namespace and an unknown listener are reported with the broker's text."""
        proxy = self.proxy(lab.routes(self.lab.cluster))
        said = self.fails(FailureKind.NOT_FOUND, proxy, "persistent://public/nowhere/t")
        self.assertIn("public/nowhere", said)
        said = self.fails(FailureKind.NOT_READY, proxy, "persistent://public/default/t", "--listener", "absent")
        self.assertIn("absent", said)

    def test_authentication(self) -> None:
        """A token with a wrong signature is refused by the broker, and not printed."""
        material = self.lab.material
        proxy = self.proxy(lab.routes(self.lab.secured))
        files = ["--certificate", str(material.client.certificate), "--key", str(material.client.key)]
        topic = "persistent://public/default/t"
        said = self.fails(FailureKind.AUTHENTICATION, proxy, topic, *files, "--token", str(material.bad_token))
        self.assertNotIn(material.bad_token.read_text(), said)
        status, _, said = self.look_up(proxy, topic, *files, "--token", str(material.tokens["admin"]))
        self.assertEqual(status, 0, said)
