"""Which topic a command concerns."""

from __future__ import annotations

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.faults.topics import Concerned, TopicTracker
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from tests.faults.faulty import located, lookup, producer, receipt, send, subscribe


def take(tracker: TopicTracker, by_client: bool, frame: bytes | Message) -> Concerned:
    """Show the tracker a frame."""
    data = frame if isinstance(frame, bytes) else write(frame)
    base = read(data[8 : 8 + int.from_bytes(data[4:8])])
    return tracker.take(by_client, base.type, fields_of(base))


class TrackerTests(SynchronousTestCase):
    """L{TopicTracker}."""

    def test_requests(self) -> None:
        """Answers have the topics of their requests, also if lookups have the numbers of other requests."""
        tracker = TopicTracker()
        self.assertEqual("a", take(tracker, True, lookup(1, "a")).topic)
        take(tracker, True, pb.CommandPartitionedTopicMetadata(topic="b", request_id=1))
        take(tracker, True, producer(5, 1, "c"))
        kind = pb.CommandPartitionedTopicMetadataResponse
        self.assertEqual("b", take(tracker, False, kind(request_id=1)).topic)
        self.assertEqual("a", take(tracker, False, located(1)).topic)
        answer = take(tracker, False, pb.CommandProducerSuccess(request_id=1, producer_name="p"))
        self.assertEqual(Concerned("c", 5), answer)
        self.assertEqual(Concerned(), take(tracker, False, located(9)))

    def test_ids(self) -> None:
        """Commands of producers and consumers have the topics with which these were opened."""
        tracker = TopicTracker()
        take(tracker, True, producer(5, 1, "p"))
        take(tracker, True, subscribe(5, 2, "c"))
        self.assertEqual(Concerned("p", 5), take(tracker, True, send(5, 0)))
        self.assertEqual(Concerned("p", 5), take(tracker, False, receipt(5, 0)))
        self.assertEqual(Concerned("c", None, 5), take(tracker, True, pb.CommandFlow(consumer_id=5, messagePermits=1)))
        for kind, expected in ((pb.CommandTopicMigrated.Producer, "p"), (pb.CommandTopicMigrated.Consumer, "c")):
            moved = pb.CommandTopicMigrated(resource_id=5, resource_type=kind)
            self.assertEqual(expected, take(tracker, False, moved).topic)
        self.assertEqual(Concerned(), take(tracker, True, pb.CommandPing()))
