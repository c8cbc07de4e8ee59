"""A conversation of the real Python client with a real broker: recorded, and played to each of them."""

from __future__ import annotations

from tests.peers import clients, inspected, lab, talks
from tests.peers.case import PulsarTestCase
from tests.peers.children import TIMEOUT_S
from tests.peers.needs import require


class ConversationTests(PulsarTestCase):
    """``sniproxyctl record`` and ``replay``."""

    def setUp(self) -> None:
        """Skip the test without the Python client."""
        super().setUp()
        require(parts=["python"])

    def run_client(self, url: str, topic: str) -> None:
        """The Python client sends and receives at a URL."""
        outcome = clients.run(clients.python_client({"url": url}, [topic]))
        self.assert_all_came_back(outcome, [topic])

    def test_record_and_replay(self) -> None:
        """The client meets its recorded broker again, and sees no difference; a broker gives the recorded answers."""
        cluster = self.lab.cluster
        broker = cluster.brokers[0]
        self.proxy(lab.routes(cluster), more=inspected.taps(cluster))
        address = f"127.0.0.1:{broker.tap}"
        topic = cluster.topic_of_each("public/default/recorded")[broker.name]
        file = self.lab.new_folder() / "talk.jsonl"
        recording, url = talks.start(self, "record", "--target", address, "-o", str(file), "--connections", "1")
        self.run_client(url, topic)
        self.assertEqual(0, recording.wait(TIMEOUT_S), recording.lines)

        playing, url = talks.start(self, "replay", "--as", "broker", str(file), "--timeout", "30")
        self.run_client(url, topic)
        self.assertEqual(0, playing.wait(TIMEOUT_S), playing.lines)
        self.assertIn(f"{file}: equal", playing.lines)

        # A client that sends other messages. It waits for them in vain: the recorded broker has none of them.
        playing, url = talks.start(self, "replay", "--as", "broker", str(file), "--timeout", "10")
        clients.run(clients.python_client({"url": url, "size": 100, "timeout": 3}, [topic]))
        self.assertEqual(1, playing.wait(TIMEOUT_S), playing.lines)
        self.assertTrue(any("SEND payload" in line for line in playing.lines), playing.lines)

        # A topic without messages, as the first was.
        other = cluster.topic_of_each("public/default/replayed")[broker.name]
        file.write_text(file.read_text().replace(topic, other))
        self.assertIn(f"{file}: equal", talks.play_client(self, str(file), address))
