"""The PROXY protocol with brokers that read it: they show the clients' own addresses, wherever TLS ends here.

With PEERS_LONG=1 (`make peers-long`) Java, whose start is slow, also runs with version 1.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.peers import clients, lab, needs
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Sender
from tests.peers.cluster import LAB, Cluster, free_ports
from tests.peers.inspected import admin
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.middleboxes import TIMEOUT_S
from tests.peers.needs import require
from tests.peers.proxy import Bridge, Program, Span
from tests.peers.rawproducer import create_producer

SETTINGS = {"haProxyProtocolEnabled": "true", "webServiceHaProxyProtocolEnabled": "true"}
VERSIONS = ("v1", "v2")
NAME = BROKER_NAMES[0]
LONG = os.environ.get("PEERS_LONG") == "1"
PYTHON, GO, JAVA = clients.python_client, clients.go_client, clients.java_client


@functools.cache
def reading_cluster() -> Cluster:
    """Brokers that read the PROXY protocol, for all tests of a run."""
    (cluster,) = lab.shared().start([LAB], SETTINGS)
    return cluster


def sending(routes: Mapping[str, Sequence[str]], version: str) -> str:
    """The TOML of routes that send the PROXY protocol."""
    return "".join(
        f'[[route]]\nserver_name = "{name}"\ntarget = {json.dumps(list(targets))}\nsend_proxy = "{version}"\n'
        for name, targets in routes.items()
    )


class ReadingBrokerCase(PulsarTestCase):
    """Three clients, and brokers that read the PROXY protocol."""

    def setUp(self) -> None:
        """Skip the tests without the clients."""
        require(parts=["python", "go"])
        super().setUp()
        self.cluster = reading_cluster()

    def program(self, text: str) -> Program:
        """A proxy that ends with the test. `text`: its configuration without the access log."""
        folder = self.lab.new_folder()
        program = Program(folder, f'{text}[access_log]\npath = "{folder}/access.jsonl"\n')
        self.addCleanup(program.stop)
        return program

    def start(self, commands: Iterable[Sequence[str]]) -> list[Sender]:
        """Clients that send until the test ends them, once all send."""
        senders = []
        for command in commands:
            senders.append(Sender(command))
            self.addCleanup(senders[-1].stop)
        for sender in senders:
            sender.wait_until_sending()
        return senders

    def finish(self, senders: Mapping[str, Sender]) -> None:
        """Assert that no message is lost. `senders`: by topic."""
        with ThreadPoolExecutor(len(senders)) as pool:
            ends = {topic: pool.submit(sender.finish) for topic, sender in senders.items()}
        for topic, end in ends.items():
            self.assert_all_came_back(end.result(), [topic])

    def shown(self, topic: str) -> set[str]:
        """The addresses of a topic's producer and consumer, as the broker shows them."""
        stats = self.cluster.admin("GET", f"/admin/v2/{topic.replace('://', '/')}/stats")
        (producer,) = stats["publishers"]
        ((consumer,),) = [one["consumers"] for one in stats["subscriptions"].values()]
        return {one["address"].lstrip("/") for one in (producer, consumer)}

    def check(self, program: Program, started: Mapping[str, Sequence[str]]) -> None:
        """Assert that the broker shows the clients' own addresses, which only the access log and they know.

        `started`: the commands of the clients, by topic.
        """
        senders = dict(zip(started, self.start(started.values()), strict=True))
        shown = {topic: self.shown(topic) for topic in senders}
        self.finish(senders)
        program.stop()
        logged = [json.loads(line) for line in program.access_log.read_text().splitlines()]
        own, ours = ({line[key] for line in logged} for key in ("client", "upstream_local"))
        for topic, addresses in shown.items():
            self.assertLessEqual(addresses, own, f"{topic}: not the client's; ours are {ours}")
            self.assertFalse(addresses & ours)

    def topics(self, stem: str, *names: str) -> dict[str, str]:
        """A topic for each client."""
        return {name: f"persistent://public/default/{stem}-{name}" for name in names}


def options(client: str, **more: object) -> dict[str, object]:
    """The options of an endless client. `client`: java, python or go."""
    return {"endless": True, "timeout": "60s" if client == "go" else 60, **more}


def made(version: str) -> dict[str, Callable[[Mapping[str, object], Sequence[str]], list[str]]]:
    """The clients of a test, by name."""
    java = {"java": JAVA} if LONG or version == "v2" else {}
    return {**java, "python": PYTHON, "go": GO}


class ReadingBrokerTests(ReadingBrokerCase):
    """The header goes inside TLS, or where there is none."""

    def test_terminating_listener(self) -> None:
        """Java and Python with a proxy option, and Go in DNS mode, on a listener that terminates TLS."""
        for version in VERSIONS:
            self.check_terminating(version)

    def check_terminating(self, version: str) -> None:
        """One version of the protocol."""
        material, port = self.lab.material, self.cluster.dns_port
        listener = f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n'
        keys = f'certificates = "{material.folder}"\nupstream_trust = "{material.trust}"\n'
        program = self.program(listener + keys + sending(lab.routes(self.cluster, dns=True), version))
        proxied = {"url": f"pulsar+ssl://{SERVICE_NAME}:6651", "proxy": f"pulsar+ssl://127.0.0.1:{port}"}
        topics = self.topics(f"ends-{version}", "java", "python", "go")
        commands = {
            topics[name]: command(options(name, **proxied, trust=material.trust, verify=True), [topics[name]])
            for name, command in made(version).items()
            if name != "go"
        }
        private = needs.private_hosts()
        if private is not None:
            hosts = self.lab.new_folder() / "hosts"
            clients.write_hosts(hosts, [SERVICE_NAME, *BROKER_NAMES])
            words = options("go", url=f"pulsar+ssl://{SERVICE_NAME}:{port}", trust=material.trust)
            commands[topics["go"]] = [*private, str(hosts), *GO(words, [topics["go"]])]
        self.check(program, commands)

    def test_plaintext_listener(self) -> None:
        """All clients on plaintext listeners."""
        for version in VERSIONS:
            listeners = [
                plaintext_listener(broker.name, broker.tap, broker.behind_tap, version)
                for broker in self.cluster.brokers
            ]
            program = self.program("".join(listeners))
            self.check_all(program, f"pulsar://127.0.0.1:{program.port}", "plain", version)

    def test_bridge(self) -> None:
        """All clients through a bridge, and a proxy that passes TLS through."""
        for version in VERSIONS:
            proxy = self.proxy(lab.routes(self.cluster))
            span = Span(f"{SERVICE_NAME}:6651", proxy.url, self.lab.material.trust, more=f'send_proxy = "{version}"')
            bridge = Bridge(self.lab.new_folder(), [span])
            self.addCleanup(bridge.stop)
            self.check_all(bridge, bridge.url, "bridged", version)

    def check_all(self, program: Program, url: str, stem: str, version: str) -> None:
        """Check the clients with a plain service URL."""
        commands = made(version)
        topics = self.topics(f"{stem}-{version}", *commands)
        self.check(
            program, {topics[name]: make(options(name, url=url), [topics[name]]) for name, make in commands.items()}
        )


class OwnHeaderTests(ReadingBrokerCase):
    """A client that writes a header of its own, and claims an address that it does not have."""

    CLAIMED = "192.0.2.66:50123"
    HEADER = b"PROXY TCP4 192.0.2.66 198.51.100.1 50123 6651\r\n"
    TOPIC = "persistent://public/default/claimed"

    def produce(self, sock: socket.socket) -> list[str]:
        """Send the header and create a producer. Returns the types of the answers, until the producer or the end."""
        return create_producer(sock, self.TOPIC, self.HEADER)

    def test_passthrough(self) -> None:
        """Where TLS passes through, the broker believes it: the proxy cannot see it."""
        broker = self.cluster.owner(self.TOPIC.removeprefix("persistent://"))
        proxy = self.proxy({broker.name: [f"127.0.0.1:{broker.tls}"]})
        context = ssl.create_default_context(cafile=str(self.lab.material.trust))
        plain = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S)
        with plain, context.wrap_socket(plain, server_hostname=broker.name) as secure:
            self.assertEqual("PRODUCER_SUCCESS", self.produce(secure)[-1])
            (shown,) = self.cluster.admin("GET", f"/admin/v2/{self.TOPIC.replace('://', '/')}/stats")["publishers"]
            self.assertEqual(self.CLAIMED, shown["address"].lstrip("/"))

    def test_send_proxy(self) -> None:
        """Behind the proxy's header it is no header, and the broker closes the connection."""
        broker = self.cluster.owner(self.TOPIC.removeprefix("persistent://"))
        for version in VERSIONS:
            program = self.program(plaintext_listener(broker.name, 0, broker.behind_tap, version))
            with socket.create_connection(("127.0.0.1", program.port), TIMEOUT_S) as client:
                self.assertEqual([], self.produce(client))


def plaintext_listener(name: str, port: int, target: int, version: str) -> str:
    """The TOML of a plaintext listener that sends headers."""
    return (
        f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\nname = "{name}"\n'
        f'plaintext = true\ntarget = "127.0.0.1:{target}"\nsend_proxy = "{version}"\n'
    )


class PassthroughTests(ReadingBrokerCase):
    """TLS passes through, so a header can only come before the hello."""

    def sender(self, port: int, version: str) -> Program:
        """A proxy that sends a header before the hello, to a port of the first broker."""
        listener = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
        return self.program(listener + sending({NAME: [f"127.0.0.1:{port}"]}, version))

    def page(self, program: Program) -> int:
        """The status of a page of the admin API by HTTPS. Raises OSError."""
        context = ssl.create_default_context(cafile=str(self.lab.material.trust))
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", program.port), TIMEOUT_S), server_hostname=NAME
        ) as secure:
            connection = http.client.HTTPSConnection(NAME)
            connection.sock = secure
            connection.request("GET", "/admin/v2/clusters", headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def test_binary_port(self) -> None:
        """A broker reads the header of its binary port inside TLS: one before the hello breaks it, and is explained."""
        for version in VERSIONS:
            program = self.sender(self.cluster.brokers[0].tls, version)
            self.assertRaises(OSError, self.page, program)
            (line,) = program.connections()
            self.assertIn("the target", line["reason"])

    def test_web_port(self) -> None:
        """HTTPS of a broker with webServiceHaProxyProtocolEnabled takes the header before the hello."""
        for version in VERSIONS:
            program = self.sender(self.cluster.brokers[0].web_tls, version)
            self.assertEqual(200, self.page(program))
            (line,) = program.connections()
            if self.pulsar.scalable:
                # Its request log has both ends of the connection; older ones have no ports.
                client, ours = (line[key].rpartition(":")[2] for key in ("client", "upstream_local"))
                jvm = self.cluster.jvm(self.cluster.brokers[0])
                self.assertIn(f"clientPort={client}, clientPortReal={ours}", jvm.wait_for_text(f"clientPort={client}"))

    def test_who(self) -> None:
        """`sniproxyctl who --topic` finds the clients behind the addresses that the broker shows."""
        (port,) = free_ports(1)
        proxy = self.proxy(lab.routes(self.cluster), more=admin(port))
        topic = "persistent://public/default/who"
        words = {**self.options(proxy), **options("python")}
        (sender,) = self.start([PYTHON(words, [topic])])
        (address,) = self.shown(topic)
        broker = f"http://127.0.0.1:{self.cluster.brokers[0].web}"
        live = ["--topic", topic, "--broker-admin", broker, "--admin", f"http://127.0.0.1:{port}"]
        found = self.who(*live)
        self.finish({topic: sender})
        proxy.stop()
        logged = [json.loads(line) for line in proxy.access_log.read_text().splitlines()]
        (line,) = [one for one in logged if one["upstream_local"] == address]
        self.assertEqual(["consumer", "producer"], sorted(str(one["what"]).split()[0] for one in found))
        for one in found:
            (connection,) = one["connections"]
            self.assertEqual((address, line["client"]), (one["address"], connection["client"]))
            self.assertEqual((line["server_name"], line["id"]), (connection["name"], connection["id"]))
        (past,) = self.who(address, "--log", str(proxy.access_log))
        self.assertEqual([line["client"]], [one["client"] for one in past["connections"]])

    def who(self, *arguments: str) -> list[dict[str, Any]]:
        """Run the command. Asserts that it found all. Returns its objects."""
        program = str(Path(sys.executable).with_name("sniproxyctl"))
        command = [program, "who", "--json", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]
