"""`sniproxyctl lookup` of scalable topics with real brokers, and brokers of answers that have no route."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader
from tests.peers import lab, versions
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import Cluster
from tests.peers.material import SERVICE_NAME
from tests.peers.proxy import Proxy, configuration
from tests.peers.resolvertable import table

TIMEOUT_S = 20


@contextmanager
def subscribed(cluster: Cluster, topic: str) -> Iterator[None]:
    """A consumer that makes a scalable topic have a controller, while the context lasts."""
    request = pb.CommandScalableTopicSubscribe(
        request_id=1,
        topic=topic,
        subscription="s",
        consumer_name="c",
        consumer_id=1,
        consumer_type=pb.STREAM,
    )
    for broker in cluster.brokers:
        with socket.create_connection(("127.0.0.1", broker.plain), TIMEOUT_S) as connection:
            connection.sendall(write(pb.CommandConnect(client_version="peer", protocol_version=21)))
            answers = commands(connection)
            next(answers)
            connection.sendall(write(request))
            answer = next(one for one in answers if isinstance(one, pb.CommandScalableTopicSubscribeResponse))
            if not answer.HasField("error"):
                yield
                return
    raise AssertionError(f"no broker accepts a consumer: {answer}")


def commands(connection: socket.socket) -> Iterator[Any]:
    """The commands that a broker sends."""
    reader = FrameReader()
    while data := connection.recv(65536):
        yield from (fields_of(read(frame.command)) for frame in reader.feed(data))
    raise AssertionError("the broker has closed the connection")


class LookupCase(PulsarTestCase):
    """Runs the command through a proxy."""

    def setUp(self) -> None:
        """Skip the test without brokers."""
        super().setUp()
        self.cluster = self.lab.cluster

    def lookup(self, proxy: Proxy, topic: str, *more: str) -> tuple[int, dict[str, Any], str]:
        """Run the command. Returns the exit status, its JSON, and its errors."""
        options = ["--proxy-service-url", proxy.url, "--proxy-protocol", "sni", "--trust", str(self.lab.material.trust)]
        command = [str(Path(sys.executable).with_name("sniproxyctl")), "lookup", topic, "--json", *options, *more]
        command += ["--service-url", f"pulsar+ssl://{SERVICE_NAME}:6651"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, json.loads(done.stdout), done.stderr

    def configuration(self, *names: str) -> str:
        """A configuration with the routes of these names only."""
        routes = {name: targets for name, targets in lab.routes(self.cluster).items() if name in names}
        file = self.lab.new_folder() / "sniproxy.toml"
        file.write_text(configuration(routes, 4443, file.with_name("access.jsonl")))
        return str(file)


class ScalableTests(LookupCase):
    """Scalable topics of Pulsar 5."""

    since = "5.0"

    def test_topic(self) -> None:
        """The layout, each segment's owner, and the controller once a consumer needs it, by name through the proxy."""
        proxy, topic = self.proxy(lab.routes(self.cluster)), "topic://public/default/looked-up"
        names = [broker.name for broker in self.cluster.brokers]
        status, found, error = self.lookup(proxy, topic, "--config", self.configuration(SERVICE_NAME, *names))
        self.assertEqual((0, []), (status, found["unrouted"]), error)
        (segment,) = found["layout"]["segments"]
        name = "segment://public/default/looked-up/0000-ffff-0"
        self.assertEqual(
            (name, 0, 0xFFFF, "active"), tuple(segment[key] for key in ("topic", "hash_start", "hash_end", "state"))
        )
        self.assertIsNone(found["layout"]["controller"])
        self.assertEqual([topic, name], [owner["topic"] for owner in found["owners"]])
        for owner in found["owners"]:
            self.assertIn(owner["url"], [f"pulsar+ssl://{one.name}:{one.tls}" for one in self.cluster.brokers])
        with subscribed(self.cluster, topic):
            status, found, error = self.lookup(proxy, topic, "--config", self.configuration(SERVICE_NAME))
        controller = found["layout"]["controller"]
        self.assertIn(controller["broker_url"], [f"pulsar://{one.name}:{one.plain}" for one in self.cluster.brokers])
        self.assertIsNone(controller["failure"])
        # The configuration lacks the brokers: the proxy that was used has them.
        self.assertEqual(12, status, error)
        self.assertIn("as the controller of a scalable topic, but no route has it", "".join(found["unrouted"]))

    def test_segment(self) -> None:
        """A segment is looked up alone."""
        name = "segment://public/default/looked-up-segment/0000-7fff-0"
        status, found, error = self.lookup(self.proxy(lab.routes(self.cluster)), name)
        self.assertEqual((0, ["lookup", "connect"]), (status, [hop["phase"] for hop in found["hops"]]), error)


class OlderTests(LookupCase):
    """Brokers before Pulsar 5."""

    def test_unsupported(self) -> None:
        """The failure names the broker's version."""
        status, _, error = self.lookup(self.proxy(lab.routes(self.cluster)), "topic://public/default/looked-up")
        self.assertEqual(28, status)
        self.assertIn(f"Pulsar Server{self.pulsar.release} does not support scalable topics", error)


if versions.current().scalable:
    del OlderTests


class KnownNamesTests(LookupCase):
    """Plaintext listeners, whose answers have no TLS URL, beside a resolver that knows the brokers' names."""

    def taps(self) -> str:
        """An inspected plaintext listener for each broker."""
        text = '[inspect_log]\npath = "events.jsonl"\n'
        for broker in self.cluster.brokers:
            text += f'[[listener]]\nendpoint = "tcp:{broker.tap}:interface=127.0.0.1"\nname = "{broker.name}"\n'
            text += f'plaintext = true\ninspect = "pulsar"\ntarget = "127.0.0.1:{broker.behind_tap}"\n'
        return text

    def test_unrouted(self) -> None:
        """A broker without a route for its TLS name is reported; the other one is not."""
        first, second = self.cluster.brokers
        topics = self.cluster.topic_of_each("public/default/known-names")
        routes = {name: targets for name, targets in lab.routes(self.cluster).items() if name == first.name}
        resolver = table(self.cluster, listener="external").replace('"*.pulsar.test"', '"*.other.test"')
        proxy = self.proxy(routes, more=self.taps() + resolver)
        proxy.wait_for_text("Pulsar brokers: 2 brokers")
        program = str(Path(sys.executable).with_name("sniproxyctl"))
        for topic in topics.values():
            command = [program, "lookup", topic, "--service-url", f"pulsar://127.0.0.1:{first.tap}"]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        proxy.wait_for_text(f"inspector: {second.name} is advertised by listener external, but no route has it")
        proxy.stop()
        events = [json.loads(line) for line in proxy.event_log.read_text().splitlines()]
        (unrouted,) = [event for event in events if event["event"] == "unrouted"]
        self.assertEqual(
            (f"pulsar://127.0.0.1:{second.tap}", None), (unrouted["broker_url"], unrouted["broker_url_tls"])
        )
