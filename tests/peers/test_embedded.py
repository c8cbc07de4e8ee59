"""The real Java, Python and Go clients with the embedded cluster of sniproxy.testing.pulsar, and its faults."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.testing.pulsar import PulsarCluster
from tests.peers import clients, provide, versions
from tests.peers.clients import Outcome, Sender
from tests.peers.needs import require
from tests.support import programs

_PYTEST = """
import sys, types
from sniproxy.testing.pulsar import PulsarCluster

class mark:
    @staticmethod
    def pulsar_cluster(**arguments):
        return lambda test: (test, arguments)

def run(marked):
    test, arguments = marked
    with PulsarCluster(**arguments) as cluster:
        test(cluster)

sys.modules["pytest"] = types.SimpleNamespace(mark=mark)
"""


class EmbeddedCase(SynchronousTestCase):
    """Tests for each client: subclasses say which."""

    #: Makes the command of a client from its options and topics.
    command: Callable[[dict[str, object], Sequence[str]], list[str]]
    #: Options that only some clients have.
    more: dict[str, object] = {}

    def setUp(self) -> None:
        """Skip the tests without the client."""
        require("setpriv")

    def cluster(self, **settings: Any) -> PulsarCluster:
        """A running cluster that stops with the test."""
        cluster = PulsarCluster(**settings)
        self.enterContext(cluster)
        return cluster

    def options(self, cluster: PulsarCluster, token: str = "good") -> dict[str, object]:
        """Options of a client with a token, which trusts the cluster."""
        files = {"token": self.file(token.encode()), "trust": self.file(cluster.authority_pem)}
        return {"url": cluster.service_url, "n": 5, **files, **self.more}

    def file(self, text: bytes) -> Path:
        """A file with a text."""
        path = Path(self.mktemp()).resolve()
        path.write_bytes(text)
        return path

    def assert_received(self, outcome: Outcome, topics: Sequence[str]) -> None:
        """Assert that the client received all its messages in every topic."""
        self.assertEqual((outcome.complete, outcome.status), (list(topics), 0), f"{outcome.reports}\n{outcome.log}")


class BadDayTests:
    """To be mixed into an `EmbeddedCase`."""

    def test_bad_day(self: Any) -> None:
        """By TLS and with a token, the client loses no message while a topic moves and connections are reset."""
        cluster = self.cluster(tls=True, tokens=["good"])
        one, two = cluster.brokers
        topic = cluster.topic_of(one)
        sender = Sender(self.command({**self.options(cluster), "endless": True}, [topic]))
        self.addCleanup(sender.stop)
        sender.wait_until_sending()
        for broker in cluster.brokers:
            broker.refuse_lookups("ServiceNotReady", times=1)
        cluster.move(topic, two)
        two.wait_for("PRODUCER")
        sender.wait_until_sending()
        two.forget_commands()
        two.reset_at("SEND_RECEIPT", topic=topic)
        two.wait_for("PRODUCER")
        sender.wait_until_sending()
        one.forget_commands()
        cluster.move(topic, one, assigned=True)
        one.wait_for("PRODUCER")
        one.challenge()
        one.wait_for("AUTH_RESPONSE")
        self.assert_received(sender.finish(), [topic])
        logins = cluster.wait_for("CONNECT", 2)
        self.assertEqual({"token"}, {each.fields.auth_method_name for each in logins})


class RoundTripTests:
    """To be mixed into an `EmbeddedCase`."""

    def test_round_trip(self: Any) -> None:
        """Without TLS, the client uses topics of both brokers, one with partitions, one by a redirect."""
        cluster = self.cluster(partitions={"persistent://public/default/parts": 3})
        one, two = cluster.brokers
        topics = [cluster.topic_of(one), cluster.topic_of(two), "persistent://public/default/parts"]
        cluster.redirect(topics[1], two)
        command = self.command({"url": cluster.service_url, "n": 5}, topics)
        self.assert_received(clients.run(command), topics)
        self.assertEqual([5, 5], [len(cluster.messages(topic)) for topic in topics[:2]])
        parts = [cluster.messages(f"{topics[2]}-partition-{number}") for number in range(3)]
        self.assertEqual(5, sum(len(messages) for messages in parts))
        self.assertTrue(two.wait_for("LOOKUP", where=lambda each: each.topic == topics[1]))


class PythonTests(BadDayTests, RoundTripTests, EmbeddedCase):
    """The Python client, on the C++ client."""

    command = staticmethod(clients.python_client)
    more = {"verify": True}

    def setUp(self) -> None:
        super().setUp()
        require(parts=["python"])

    def test_features(self) -> None:
        """Batches, seeks, readers, redelivery, shared subscriptions, schemas and patterns work."""
        cluster = self.cluster()
        interpreter = provide.part("python").path / "bin" / "python"
        command = [str(interpreter), str(provide.HERE / "python_features.py"), cluster.service_url]
        ran = programs.run(command, text=True, capture_output=True)
        self.assertEqual((0, True), (ran.returncode, "done" in ran.stdout), ran.stdout + ran.stderr)
        self.assertEqual({}, cluster.subscriptions("persistent://public/features/positions"))

    def test_guide(self) -> None:
        """The tests of the guide pass with the real client; a stand-in has what they use of pytest."""
        guide = (provide.HERE.parent.parent / "docs" / "howto" / "test-a-client.md").read_text()
        samples = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)[:2]
        (packages,) = (provide.part("python").path / "lib").glob("python3*/site-packages")
        program = Path(self.mktemp())
        program.write_text("\n".join([_PYTEST, *samples, "test_producer_survives_a_move()", "run(test_login)"]))
        path = os.pathsep.join([*(p or os.getcwd() for p in sys.path), str(packages)])
        environment = {**os.environ, "PYTHONPATH": path}
        ran = programs.run([sys.executable, str(program)], env=environment, text=True, capture_output=True)
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)

    def test_refused_token(self) -> None:
        """The client cannot log in with another token. It tries again until its timeout."""
        cluster = self.cluster(tls=True, tokens=["good"])
        outcome = clients.run(self.command({**self.options(cluster, "bad"), "timeout": 1}, ["persistent://a/b/c"]))
        self.assertEqual((["Timeout"], 3), ([report.get("error") for report in outcome.reports], outcome.status))
        self.assertEqual({"CONNECT"}, {each.type for each in cluster.commands})


class JavaTests(BadDayTests, EmbeddedCase):
    """The Java client."""

    command = staticmethod(clients.java_client)
    more = {"verify": True}

    def setUp(self) -> None:
        super().setUp()
        require("java", parts=provide.needed(versions.current()))


class GoTests(BadDayTests, RoundTripTests, EmbeddedCase):
    """The Go client."""

    command = staticmethod(clients.go_client)

    def setUp(self) -> None:
        super().setUp()
        require(parts=["go"])
