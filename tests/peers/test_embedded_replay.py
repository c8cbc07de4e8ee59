"""Conversations of the real Java, Python and Go clients with the embedded cluster: recorded, played to each side."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.testing.pulsar import PulsarCluster
from tests.peers import clients, provide, talks, versions
from tests.peers.children import TIMEOUT_S
from tests.peers.needs import require


class ReplayCase(SynchronousTestCase):
    """Helpers for each client."""

    #: Makes the command of a client from its options and topics.
    command: Callable[[dict[str, object], Sequence[str]], list[str]]
    #: Its longest time of an operation in which the recorded broker does not answer.
    timeout_word = "3"

    def setUp(self) -> None:
        """Skip the tests without the client."""
        require("setpriv")

    def cluster(self) -> PulsarCluster:
        """A running cluster that stops with the test."""
        cluster = PulsarCluster()
        self.enterContext(cluster)
        return cluster

    def run_client(self, url: str, topics: Sequence[str]) -> None:
        """The client sends and receives in all topics."""
        outcome = clients.run(self.command({"url": url, "n": 5}, topics))
        self.assertEqual((outcome.complete, outcome.status), (list(topics), 0), f"{outcome.reports}\n{outcome.log}")

    def record(self, cluster: PulsarCluster, topics: Sequence[str]) -> list[str]:
        """Record the client. Returns the files as a shell would list them."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        target = cluster.brokers[0].url.partition("//")[2]
        recording, url = talks.start(self, "record", "--target", target, "-o", str(folder / "talk.jsonl"))
        self.run_client(url, topics)
        recording.process.send_signal(signal.SIGINT)
        self.assertEqual(130, recording.wait(TIMEOUT_S), recording.lines)
        return sorted(map(str, folder.glob("talk*.jsonl")))


class ReplayTests:
    """To be mixed into a `ReplayCase`."""

    def test_broker(self: ReplayCase) -> None:  # type: ignore[misc]
        """A client with topics of two brokers meets both again, and nothing differs; another message does."""
        cluster = self.cluster()
        topics = [cluster.topic_of(broker) for broker in cluster.brokers]
        files = self.record(cluster, topics)
        playing, url = talks.start(self, "replay", "--as", "broker", *files, "--timeout", "30")
        self.run_client(url, topics)
        self.assertEqual(0, playing.wait(TIMEOUT_S), playing.lines)
        self.assertEqual(len(files), sum(line.endswith(": equal") for line in playing.lines), playing.lines)

        playing, url = talks.start(self, "replay", "--as", "broker", *files, "--timeout", "5", "--wait", "30")
        clients.run(self.command({"url": url, "n": 5, "size": 100, "timeout": self.timeout_word}, topics))
        self.assertEqual(1, playing.wait(TIMEOUT_S), playing.lines)
        self.assertTrue(any("SEND payload" in line for line in playing.lines), playing.lines)

    def test_client(self: ReplayCase) -> None:  # type: ignore[misc]
        """A new cluster gives what was sent the recorded answers."""
        cluster = self.cluster()
        topic = cluster.topic_of(cluster.brokers[0])
        (file,) = self.record(cluster, [topic])
        other = self.cluster()
        text = Path(file).read_text().replace(topic, other.topic_of(other.brokers[0]))
        Path(file).write_text(text)
        address = other.brokers[0].url.partition("//")[2]
        self.assertIn(f"{file}: equal", talks.play_client(self, file, address))


class PythonTests(ReplayTests, ReplayCase):
    """The Python client, on the C++ client."""

    command = staticmethod(clients.python_client)

    def setUp(self) -> None:
        super().setUp()
        require(parts=["python"])


class JavaTests(ReplayTests, ReplayCase):
    """The Java client."""

    command = staticmethod(clients.java_client)

    def setUp(self) -> None:
        super().setUp()
        require("java", parts=provide.needed(versions.current()))


class GoTests(ReplayTests, ReplayCase):
    """The Go client."""

    command = staticmethod(clients.go_client)
    timeout_word = "3s"

    def setUp(self) -> None:
        super().setUp()
        require(parts=["go"])
