"""The bridge: unmodified clients with a plain service URL, and real brokers behind the proxy.

The brokers' names do not resolve, so that a client that bypasses the bridge fails. With PEERS_LONG=1 (`make
peers-long`) more is restarted, with more messages.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import trustme

from tests.peers import clients, geo, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome, Sender
from tests.peers.cluster import Broker, Cluster, free_ports
from tests.peers.material import BROKER_NAMES, CLIENT_ROLE, SERVICE_NAME, UNCERTIFIED_NAME
from tests.peers.needs import require
from tests.peers.proxy import Bridge, Connection, Program, Proxy, Span

LONG = os.environ.get("PEERS_LONG") == "1"

Command = Callable[[Mapping[str, object], Sequence[str]], list[str]]
PYTHON, GO, JAVA = clients.python_client, clients.go_client, clients.java_client
CLIENTS: dict[str, Command] = {"python": PYTHON, "go": GO, "java": JAVA}


class BridgeTestCase(PulsarTestCase):
    """A test with three clients at once, a bridge and a proxy."""

    def setUp(self) -> None:
        """Skip the test if a client is missing."""
        require(parts=["python", "go"])
        super().setUp()

    def span(self, proxy: Proxy, service: str = SERVICE_NAME, **more: Any) -> Span:
        """A bridge to the cluster behind the proxy."""
        return Span(**{"service": f"{service}:6651", "proxy": proxy.url, "trust": self.lab.material.trust, **more})

    def bridge(self, *spans: Span, more: str = "") -> Bridge:
        """A running bridge that ends with the test."""
        bridge = Bridge(self.lab.new_folder(), spans, more)
        self.addCleanup(bridge.stop)
        return bridge

    def run_all(self, bridge: Bridge, topics: Callable[[str], Iterable[str]], **options: object) -> dict[str, Outcome]:
        """Run the three clients at the same time, each with its own topics. Returns their outcomes."""
        with ThreadPoolExecutor(len(CLIENTS)) as pool:
            running = {
                name: pool.submit(clients.run, command(_options(name, bridge, options), list(topics(name))))
                for name, command in CLIENTS.items()
            }
            return {name: outcome.result() for name, outcome in running.items()}

    def check_all(self, bridge: Bridge, topics: Callable[[str], Iterable[str]], **options: object) -> None:
        """Assert that the three clients receive what they send."""
        for name, outcome in self.run_all(bridge, topics, **options).items():
            self.assert_all_came_back(outcome, topics(name))

    def senders(
        self, bridge: Bridge, topic: Callable[[str], str], who: Iterable[str] = CLIENTS, **options: object
    ) -> dict[str, Sender]:
        """The three clients, or some of them, each sending to its own topic."""
        senders = {}
        for name in who:
            command = CLIENTS[name]
            words = _options(name, bridge, {"endless": True, "timeout": 60, **options})
            senders[name] = Sender(command(words, [topic(name)]))
            self.addCleanup(senders[name].stop)
        self.wait_until_sending(senders)
        return senders

    def wait_until_sending(self, senders: Mapping[str, Sender]) -> None:
        """Wait until all of them continue to send."""
        for sender in senders.values():
            sender.wait_until_sending()

    def finish(self, senders: Mapping[str, Sender], topic: Callable[[str], str]) -> None:
        """Assert that none of their messages is lost."""
        with ThreadPoolExecutor(len(senders)) as pool:
            ends = {name: pool.submit(sender.finish) for name, sender in senders.items()}
        for name, end in ends.items():
            self.assert_all_came_back(end.result(), [topic(name)])

    def ended(self, program: Program, count: int = 0) -> list[Connection]:
        """Stop the bridge. Returns its connections, at least this many."""
        program.connections(lambda log: len(log) >= count)
        program.stop()
        return [json.loads(line) for line in program.access_log.read_text().splitlines()]

    def names(self, program: Program, count: int) -> Counter[str]:
        """The number of connections by server name, at least this many. Asserts that all were tunnels."""
        logged = self.ended(program, count)
        # Some clients leave with bytes unread, which is a reset.
        self.assertLessEqual({line["result"] for line in logged}, {"ok", "reset"}, logged)
        self.assertTrue(all(line["bytes_down"] for line in logged), logged)
        return Counter(line["server_name"] for line in logged)


def _options(client: str, bridge: Bridge, options: Mapping[str, object]) -> dict[str, object]:
    words = dict(options)
    if client == "go" and "timeout" in words:
        words["timeout"] = f"{words['timeout']}s"
    return {"url": bridge.url, **words}


def other(cluster: Cluster, broker: Broker) -> Broker:
    """The other broker."""
    return next(each for each in cluster.brokers if each is not broker)


class BridgeTests(BridgeTestCase):
    """Normal operation."""

    def test_topics(self) -> None:
        """Topics of both brokers and a partitioned one work; the proxy sees the names that the bridge dials."""
        cluster = self.lab.cluster
        topics = {}
        for name in CLIENTS:
            parts = f"public/default/bridged-{name}-parts"
            cluster.admin("PUT", f"/admin/v2/persistent/{parts}/partitions", 4)
            for i in range(4):
                cluster.owner(f"{parts}-partition-{i}")
            owned = cluster.topic_of_each(f"public/default/bridged-{name}").values()
            topics[name] = [*owned, f"persistent://{parts}"]
        proxy = self.proxy(lab.routes(cluster))
        bridge = self.bridge(self.span(proxy))
        self.check_all(bridge, topics.__getitem__, n=12)
        names = self.names(bridge, 9)
        self.assertEqual({SERVICE_NAME, *BROKER_NAMES}, set(names))
        # All owners are known: no redirect, so all of the proxy's connections are of the bridge's clients.
        self.assertEqual(names, self.names(proxy, names.total()))

    def test_large_messages(self) -> None:
        """Messages of 300 kB pass in both directions."""
        bridge = self.bridge(self.span(self.proxy(lab.routes(self.lab.cluster))))
        self.check_all(bridge, lambda name: [f"persistent://public/default/bridged-large-{name}"], n=5, size=300_000)
        least = 3 * 5 * 300_000

        def whole(log: list[Connection]) -> bool:
            return bool(min(sum(line[count] for line in log) for count in ("bytes_up", "bytes_down")) > least)

        bridge.connections(whole)

    def test_pattern(self) -> None:
        """A pattern consumer reads topics of both brokers."""
        cluster = self.lab.cluster

        def topics(name: str) -> list[str]:
            return [f"persistent://public/bridged-pattern-{name}/t-{i}" for i in range(4)]

        for name in CLIENTS:
            cluster.create_namespace(f"public/bridged-pattern-{name}")
            for topic in topics(name):
                cluster.admin("PUT", f"/admin/v2/{topic.replace('://', '/')}")
        bridge = self.bridge(self.span(self.proxy(lab.routes(cluster))))
        with ThreadPoolExecutor(len(CLIENTS)) as pool:
            running = {}
            for name, command in CLIENTS.items():
                pattern = f"persistent://public/bridged-pattern-{name}/.*"
                running[pattern] = pool.submit(
                    clients.run, command({"url": bridge.url, "pattern": pattern}, topics(name))
                )
        for pattern, outcome in running.items():
            self.assert_all_came_back(outcome.result(), [pattern])

    def test_redirects(self) -> None:
        """The bridge follows the redirects of a broker that is not the leader; clients do not see them."""
        cluster = self.lab.cluster
        leader = cluster.leader()
        topics = {}
        for name in CLIENTS:
            cluster.create_namespace(f"public/bridged-redirect-{name}")
            topics[name] = [f"persistent://public/bridged-redirect-{name}/t-{i}" for i in range(4)]
        routes = {**lab.routes(cluster), SERVICE_NAME: [f"127.0.0.1:{other(cluster, leader).tls}"]}
        proxy = self.proxy(routes)
        bridge = self.bridge(self.span(proxy, more='inspect = "pulsar"'), more='[inspect_log]\npath = "events.jsonl"\n')
        self.check_all(bridge, topics.__getitem__)
        seen = self.names(bridge, 6)
        # The bridge's own connections beside them, in the place of clients that were redirected.
        more = self.names(proxy, seen.total() + 1) - seen
        self.assertIn(leader.name, more)
        self.assertNotIn(SERVICE_NAME, more)
        events = [json.loads(line) for line in bridge.event_log.read_text().splitlines()]
        lookups = [event for event in events if event["event"] == "lookup"]
        self.assertIn(
            ("redirect", leader.name),
            {(event["response"], event["broker_url_tls"].split("/")[2].split(":")[0]) for event in lookups},
        )
        told = {event["topic"]: event["broker_url_tls"] for event in lookups if event["response"] == "connect"}
        owners = {topic: self.owner_url(cluster, topic) for name in CLIENTS for topic in topics[name]}
        self.assertEqual(owners, told)
        self.assertFalse([event for event in events if event["event"] in ("lost", "gap", "unrouted")])

    def owner_url(self, cluster: Cluster, topic: str) -> str:
        """The owner's TLS URL by the admin API."""
        answer = cluster.admin("GET", f"/lookup/v2/topic/{topic.replace('://', '/')}?listenerName=external")
        return str(answer["brokerUrlTls"])

    def test_unload(self) -> None:
        """A topic that moves to the other broker and back during sending keeps its clients."""
        cluster = self.lab.cluster
        topics = {name: f"public/default/bridged-moving-{name}" for name in CLIENTS}
        bridge = self.bridge(self.span(self.proxy(lab.routes(cluster))))
        senders = self.senders(bridge, lambda name: f"persistent://{topics[name]}")
        for topic in topics.values():
            there = other(cluster, cluster.owner(topic))
            cluster.move(topic, there)
            # Topics may share a bundle, which the next round then moves back: not before all have followed.
            self.wait_until_sending(senders)
        cluster.admin("PUT", "/admin/v2/namespaces/public/default/unload")
        self.wait_until_sending(senders)
        self.finish(senders, lambda name: f"persistent://{topics[name]}")
        self.assertEqual({SERVICE_NAME, *BROKER_NAMES}, set(self.names(bridge, 2 * len(CLIENTS))))


class RestartTests(BridgeTestCase):
    """Restarts without lost messages."""

    def test_bridge_and_proxy(self) -> None:
        """Bridge and proxy are killed and restarted during sending."""
        cluster = self.lab.cluster
        door, gate = free_ports(2)
        routes = lab.routes(cluster)
        proxy = self.proxy(routes, gate)
        span = self.span(proxy, port=door)
        bridge = self.bridge(span)

        def topic(name: str) -> str:
            return f"persistent://public/default/bridged-restart-{name}"

        senders = self.senders(bridge, topic)
        for _ in range(3 if LONG else 1):
            bridge.kill()
            bridge = self.bridge(span)
            self.wait_until_sending(senders)
            proxy.kill()
            proxy = self.proxy(routes, gate)
            self.wait_until_sending(senders)
        self.finish(senders, topic)

    def test_broker(self) -> None:
        """A broker is killed during sending: clients continue at the other, and it comes back."""
        both = geo.shared()
        both.mend()
        cluster, _ = both.clusters
        left, gone = cluster.brokers
        topics = {}
        for name in CLIENTS:
            topics[name] = cluster.topic_of_each(f"public/default/bridged-broker-{name}")[gone.name]
        bridge = self.bridge(self.span(self.proxy(lab.routes(cluster))))
        senders = self.senders(bridge, topics.__getitem__)
        cluster.kill(gone)
        self.addCleanup(cluster.revive)
        self.wait_until_sending(senders)
        cluster.revive()
        self.finish(senders, topics.__getitem__)
        logged = self.ended(bridge, 2 * len(CLIENTS))
        self.assertIn(left.name, {line["server_name"] for line in logged})

    def test_one_of_two_bridges(self) -> None:
        """If one of two bridges in the service URL is killed during sending, the other is used.

        Both have allow, because Go asks either of them for a broker that the other has named. Go (0.19.0) tries the
        dead one of two repeatedly.
        """
        cluster = self.lab.cluster
        proxy = self.proxy(lab.routes(cluster))
        known = [f"{broker.name}:{broker.tls}" for broker in cluster.brokers]
        both = [self.bridge(self.span(proxy, more=f"allow = {json.dumps(known)}")) for _ in range(2)]
        url = ",".join([both[0].url, both[1].url.removeprefix("pulsar://")])

        def topic(name: str) -> str:
            return f"persistent://public/default/bridged-two-{name}"

        go = clients.run(GO({"url": url}, [topic("go")]))
        self.assert_all_came_back(go, [topic("go")])
        senders = self.senders(both[0], topic, ["python", "java"], url=url)
        both[0].kill()
        self.wait_until_sending(senders)
        self.finish(senders, topic)
        self.assertLessEqual({SERVICE_NAME}, set(self.names(both[1], 2)))


class AuthenticationTests(BridgeTestCase):
    """Brokers that require the bridge's client certificate, and authenticate clients."""

    def secured(self, name: str, role: str) -> tuple[Proxy, Bridge]:
        """Create a namespace in which the role has its permissions, and find a broker that redirects its lookups."""
        cluster = self.lab.secured
        cluster.create_namespace(f"public/{name}")
        cluster.allow(f"public/{name}", role)
        asked = other(cluster, cluster.leader())
        proxy = self.proxy({**lab.routes(cluster), SERVICE_NAME: [f"127.0.0.1:{asked.tls}"]})
        return proxy, self.bridge(self.span(proxy, more=self.certificate()))

    def certificate(self) -> str:
        """The client certificate of the bridge."""
        client = self.lab.material.client
        own = self.lab.new_folder() / "own.pem"
        own.write_text(client.certificate.read_text() + client.key.read_text())
        return f'certificate = "{own}"'

    def test_token(self) -> None:
        """A client's token reaches the broker, also when the bridge follows a redirect."""
        proxy, bridge = self.secured("bridged-token", "app")

        def topics(name: str) -> list[str]:
            return [f"persistent://public/bridged-token/{name}-{i}" for i in range(3)]

        token = self.lab.material.tokens["app"]
        self.check_all(bridge, topics, token=token)
        seen = self.names(bridge, 6)
        self.assertIn(self.lab.secured.leader().name, self.names(proxy, seen.total() + 1) - seen)
        for file in (*bridge.config.parent.iterdir(), *proxy.config.parent.iterdir()):
            self.assertNotIn(token.read_text(), file.read_text())

    def test_bad_token(self) -> None:
        """A token with a wrong signature is refused."""
        _, bridge = self.secured("bridged-bad-token", "app")
        for outcome in self.run_all(
            bridge,
            lambda name: [f"persistent://public/bridged-bad-token/{name}"],
            token=self.lab.material.bad_token,
            timeout=3,
        ).values():
            self.failure(outcome)

    def test_certificate(self) -> None:
        """With authentication by TLS, every client has the role of the bridge."""
        _, bridge = self.secured("bridged-certificate", CLIENT_ROLE)
        foreign = self.lab.material.brokers[BROKER_NAMES[0]]
        topic = "persistent://public/bridged-certificate/t"
        options = {"url": bridge.url, "cert": foreign.certificate, "key": foreign.key}
        self.assert_all_came_back(clients.run(JAVA(options, [topic])), [topic])

    def test_two_clusters(self) -> None:
        """A process with bridges to two clusters keeps them separate."""
        topic = "persistent://public/default/bridged-clusters"
        self.lab.secured.allow("public/default", "app")
        spans = [
            self.span(self.proxy(lab.routes(self.lab.cluster))),
            self.span(self.proxy(lab.routes(self.lab.secured)), more=self.certificate()),
        ]
        bridge = self.bridge(*spans)
        for port, options in zip(bridge.ports, ({}, {"token": self.lab.material.tokens["app"]}), strict=True):
            outcome = clients.run(PYTHON({"url": f"pulsar://127.0.0.1:{port}", **options}, [topic]))
            self.assert_all_came_back(outcome, [topic])
        logged = self.ended(bridge, 4)
        self.assertEqual({"bridge-0", "bridge-1"}, {line["listener"] for line in logged})


class FailureTests(BridgeTestCase):
    """Failures, with the reason in the bridge's log."""

    def fails(self, span: Span, *said: str, result: str, client: Command = PYTHON, **options: object) -> Outcome:
        """Assert that a client fails, and that the bridge logs this."""
        bridge = self.bridge(span)
        outcome = clients.run(client({"url": bridge.url, "timeout": 2, **options}, ["persistent://public/default/t"]))
        self.failure(outcome)
        for text in said:
            bridge.wait_for_text(text)
        logged = bridge.connections()
        self.assertEqual({result}, {line["result"] for line in logged}, logged)
        return outcome

    def test_certificate(self) -> None:
        """A broker whose certificate is untrusted, or for another name, is not used."""
        routes = lab.routes(self.lab.cluster)
        proxy = self.proxy({**routes, UNCERTIFIED_NAME: routes[SERVICE_NAME]})
        nobody = self.lab.new_folder() / "nobody.pem"
        trustme.CA().cert_pem.write_to_path(nobody)
        refused = "upstream_tls_failed"
        self.fails(self.span(proxy, trust=nobody), "its certificate is not trusted", result=refused)
        self.fails(
            self.span(proxy, UNCERTIFIED_NAME), f"its certificate does not cover {UNCERTIFIED_NAME}", result=refused
        )

    def test_no_tls_url(self) -> None:
        """If a lookup's answer has no TLS URL, the client gets the reason."""
        bridge = self.span(self.proxy(lab.routes(self.lab.cluster)))
        said = "names no TLS URL for the listener internal"
        outcome = self.fails(bridge, said, result="ok", client=JAVA, listener="internal")
        self.assertIn(said, self.failure(outcome)["root"])

    def test_unreachable(self) -> None:
        """A name without a route, a broker that is down, and a proxy that is down have different reasons."""
        (down,) = free_ports(1)
        self.fails(self.span(self.proxy({})), "unrecognized name", result="upstream_tls_failed")
        broker = self.proxy({SERVICE_NAME: [f"127.0.0.1:{down}"]})
        self.fails(self.span(broker), "it closed the connection in the TLS handshake", result="upstream_tls_failed")
        absent = attrs.evolve(self.span(broker), proxy=f"pulsar+ssl://127.0.0.1:{down}")
        self.fails(absent, "Connection refused", result="connect_failed")

    def test_tls(self) -> None:
        """A client that speaks TLS to the bridge is logged with the cure."""
        (port,) = free_ports(1)
        span = self.span(self.proxy({}), port=port)
        url = f"pulsar+ssl://127.0.0.1:{port}"
        self.fails(span, "the client speaks TLS", result="not_pulsar", url=url, trust=self.lab.material.trust)
