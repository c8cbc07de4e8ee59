"""Tests for sniproxy.inspector.topiclists."""

from sniproxy.inspector.revealing import PrivateFields
from sniproxy.inspector.topiclists import MAX_WATCHES, TopicLists
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.events import Fields
from tests.inspector.talking import TalkingCase

Watch = pb.CommandWatchScalableTopics
Update = pb.CommandWatchScalableTopicsUpdate


class TopicListsTests(TalkingCase):
    """Lists of a namespace's topics."""

    def setUp(self) -> None:
        super().setUp()
        self.part = self.lists = TopicLists("c1", self.pending, PrivateFields(True))

    def test_list(self) -> None:
        """The number of topics in a namespace, with the properties of the request."""
        pair = pb.KeyValue(key="k", value="v")
        self.silent(pb.CommandGetTopicsOfNamespace(request_id=1, namespace="a/b", properties=[pair]))
        answer = pb.CommandGetTopicsOfNamespaceResponse(request_id=1, topics=["x", "y"])
        expected: Fields = {
            "request": "GET_TOPICS_OF_NAMESPACE",
            "namespace": "a/b",
            "properties": {"k": "v"},
            "topics": 2,
        }
        expected |= {"status": "success", "latency_s": 0.25, "error": None, "message": None}
        self.assertEqual(self.told(answer, "topics"), expected)

    def test_watch(self) -> None:
        """A watch has a first list, then changes, until it is closed."""
        self.silent(pb.CommandWatchTopicList(request_id=4, watcher_id=9, namespace="n"))
        listed = self.told(pb.CommandWatchTopicListSuccess(request_id=4, watcher_id=9, topic=["a"]), "topics")
        self.holds(listed, request="WATCH_TOPIC_LIST", namespace="n", topics=1, properties=None)
        update = pb.CommandWatchTopicUpdate(watcher_id=9, new_topics=["b", "c"], deleted_topics=["a"])
        self.assertEqual(self.told(update, "topics_changed"), {"namespace": "n", "added": 2, "removed": 1})
        self.assertEqual(len(self.lists), 1)
        self.silent(pb.CommandWatchTopicListClose(request_id=5, watcher_id=9))
        self.assertEqual(len(self.lists), 0)
        self.holds(self.told(update, "topics_changed"), namespace=None)

    def test_scalable(self) -> None:
        """A watch of scalable topics has a snapshot, then changes, until it is closed."""
        self.silent(Watch(watch_id=1, namespace="a/b"))
        snapshot = pb.ScalableTopicsSnapshot(topics=["topic://a/b/c", "topic://a/b/d"])
        expected: Fields = {"request": "WATCH_SCALABLE_TOPICS", "namespace": "a/b", "properties": None, "topics": 2}
        expected |= {"status": "success", "latency_s": 0.25, "error": None, "message": None}
        self.assertEqual(self.told(Update(watch_id=1, snapshot=snapshot), "topics"), expected)
        diff = pb.ScalableTopicsDiff(added=["topic://a/b/e"], removed=["topic://a/b/c", "topic://a/b/d"])
        changed = self.told(Update(watch_id=1, diff=diff), "topics_changed")
        self.assertEqual(changed, {"namespace": "a/b", "added": 1, "removed": 2})
        self.silent(pb.CommandWatchScalableTopicsClose(watch_id=1))
        self.assertEqual(len(self.lists), 0)
        self.assertEqual(self.pending.end(self.time), [])

    def test_scalable_refused(self) -> None:
        """A refused watch is told with its error."""
        self.silent(Watch(watch_id=1, namespace="a/b"))
        failed = self.told(Update(watch_id=1, error=pb.AuthorizationError, message="no"), "topics")
        self.holds(failed, status="failed", namespace="a/b", topics=None, error="AuthorizationError", message="no")
        failed = self.told(Update.FromString(b"\x08\x07\x20\x63"), "topics")
        self.holds(failed, status="failed", namespace=None, error="ServerError 99", latency_s=None)
        self.silent(Update(watch_id=1))

    def test_resumed(self) -> None:
        """A client that sends the hash of its list may get no answer: the watch is not unanswered."""
        self.silent(Watch(watch_id=1, namespace="a/b", current_hash="0abc"))
        self.assertEqual(self.pending.end(self.time), [])
        changed = self.told(Update(watch_id=1, diff=pb.ScalableTopicsDiff(added=["x"])), "topics_changed")
        self.holds(changed, namespace="a/b", added=1)

    def test_unanswered(self) -> None:
        """A watch without an answer is told; one that was closed before is not."""
        self.silent(Watch(watch_id=1, namespace="a/b"), Watch(watch_id=2, namespace="a/b"))
        self.silent(pb.CommandWatchScalableTopicsClose(watch_id=2))
        self.assertEqual([event.fields["request"] for event in self.pending.end(self.time)], ["WATCH_SCALABLE_TOPICS"])

    def test_two_kinds(self) -> None:
        """Watches of the two kinds may have the same number."""
        self.silent(pb.CommandWatchTopicList(request_id=1, watcher_id=1, namespace="old"))
        self.silent(Watch(watch_id=1, namespace="new"))
        self.holds(self.told(pb.CommandWatchTopicUpdate(watcher_id=1), "topics_changed"), namespace="old")
        self.silent(pb.CommandWatchTopicListClose(request_id=2, watcher_id=1))
        self.holds(self.told(Update(watch_id=1, diff=pb.ScalableTopicsDiff()), "topics_changed"), namespace="new")

    def test_bounded(self) -> None:
        """The number of watches is bounded."""
        for number in range(MAX_WATCHES + 10):
            self.says(Watch(watch_id=number, namespace="n"))
        self.assertEqual(len(self.lists), MAX_WATCHES)
