"""Tests for sniproxy.inspector.scalable."""

from sniproxy.inspector.layouts import tables
from sniproxy.inspector.placement import MAX_LISTED
from sniproxy.inspector.scalable import MAX_SESSIONS, ScalableTopics
from sniproxy.pulsar import commands_pb2 as pb
from tests.inspector.talking import TalkingCase

TOPIC = "topic://public/default/orders"
LEFT, RIGHT = (f"segment://public/default/orders/{name}" for name in ("0000-7fff-0", "8000-ffff-1"))
Answer = pb.CommandScalableTopicSubscribeResponse


def subscribe(consumer_id: int = 3, request_id: int = 1) -> pb.CommandScalableTopicSubscribe:
    return pb.CommandScalableTopicSubscribe(
        request_id=request_id,
        topic=TOPIC,
        subscription="s",
        consumer_name="one",
        consumer_id=consumer_id,
        consumer_type=pb.CHECKPOINT,
    )


def assignment(*segments: int) -> pb.ScalableConsumerAssignment:
    both = [
        pb.ScalableAssignedSegment(segment_id=0, hash_start=0, hash_end=0x7FFF, segment_topic=LEFT),
        pb.ScalableAssignedSegment(segment_id=1, hash_start=0x8000, hash_end=0xFFFF, segment_topic=RIGHT),
    ]
    return pb.ScalableConsumerAssignment(layout_epoch=4, segments=[both[number] for number in segments])


class ScalableCase(TalkingCase):
    """A connection with scalable topics."""

    def setUp(self) -> None:
        super().setUp()
        self.part = self.scalable = ScalableTopics("c1", self.pending)


class SessionTests(ScalableCase):
    """Sessions, which follow a layout."""

    def test_session(self) -> None:
        """A session has updates with its topic until it is closed; the first one answers the lookup."""
        self.silent(pb.CommandScalableTopicLookup(session_id=1, topic=TOPIC))
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=pb.ScalableTopicDag(epoch=1))
        self.holds(self.told(update, "scalable_topic"), topic=TOPIC, status="success", latency_s=0.25, epoch=1)
        self.holds(self.told(update, "scalable_topic"), topic=TOPIC, latency_s=None)
        self.silent(pb.CommandScalableTopicClose(session_id=1))
        self.assertEqual((len(self.scalable), self.pending.end(self.time)), (0, []))

    def test_closed_early(self) -> None:
        """A session that the client closes before the answer is not unanswered."""
        self.silent(pb.CommandScalableTopicLookup(session_id=1, topic=TOPIC))
        self.silent(pb.CommandScalableTopicClose(session_id=1))
        self.assertEqual(self.pending.end(self.time), [])

    def test_missed_request(self) -> None:
        """In the middle of a session, the topic is the one that the broker names."""
        segment = pb.ScalableTopicSegment(segment_id=0, hash_start=0, hash_end=0x7FFF)
        dag = pb.ScalableTopicDag(epoch=1, segments=[segment])
        update = pb.CommandScalableTopicUpdate(session_id=9, dag=dag, resolved_topic_name=TOPIC)
        fields = self.told(update, "scalable_topic")
        self.holds(fields, topic=None, resolved_topic=TOPIC)
        self.assertEqual([at["segment_topic"] for at in tables(fields["segments"])], [LEFT])

    def test_failed(self) -> None:
        """A lookup that is refused."""
        self.silent(pb.CommandScalableTopicLookup(session_id=1, topic=TOPIC))
        update = pb.CommandScalableTopicUpdate(session_id=1, error=pb.TopicNotFound, message="no")
        self.holds(self.told(update, "scalable_topic"), topic=TOPIC, status="failed", error="TopicNotFound", epoch=None)


class ConsumerTests(ScalableCase):
    """Consumers, which have segments assigned."""

    def test_consumer(self) -> None:
        """A consumer subscribes, gets segments, loses some, and leaves."""
        self.silent(subscribe())
        about = {"topic": TOPIC, "subscription": "s", "consumer_id": 3, "consumer_name": "one"}
        about |= {"consumer_type": "CHECKPOINT", "layout_epoch": 4}
        left = {"segment_id": 0, "segment_topic": LEFT, "hash_start": 0, "hash_end": 0x7FFF}
        right = {"segment_id": 1, "segment_topic": RIGHT, "hash_start": 0x8000, "hash_end": 0xFFFF}
        ready = {"status": "ready", "latency_s": 0.25, "error": None, "message": None}
        told = self.told(Answer(request_id=1, assignment=assignment(0, 1)), "scalable_subscribe")
        self.assertEqual(told, {**about, **ready, "segments": [left, right], "segments_total": 2})
        update = pb.CommandScalableTopicAssignmentUpdate(consumer_id=3, assignment=assignment(1))
        told = self.told(update, "assignment")
        self.assertEqual(told, {**about, "segments": [right], "segments_total": 1})
        left_event = self.told(pb.CommandScalableTopicUnsubscribe(request_id=2, consumer_id=3), "scalable_unsubscribe")
        del about["layout_epoch"]
        self.assertEqual(left_event, about)
        request, _, _ = self.pending.take((pb.BaseCommand.SCALABLE_TOPIC_UNSUBSCRIBE,), 2, self.time)
        self.assertEqual((request, len(self.scalable), len(self.pending)), (82, 0, 0))

    def test_refused(self) -> None:
        """A refused consumer is told with its error; the client still unsubscribes it."""
        for answer, error in (
            (Answer(request_id=1, error=pb.AuthorizationError, message="no"), "AuthorizationError"),
            (Answer.FromString(b"\x08\x01\x10\x63"), "ServerError 99"),
            (Answer(request_id=1), None),
        ):
            self.silent(subscribe())
            told = self.told(answer, "scalable_subscribe")
            self.holds(told, topic=TOPIC, status="failed", error=error, segments=[], segments_total=0)
            leave = pb.CommandScalableTopicUnsubscribe(request_id=2, consumer_id=3)
            self.holds(self.told(leave, "scalable_unsubscribe"), topic=TOPIC, subscription="s")
            self.assertEqual(len(self.scalable), 0)

    def test_missed_request(self) -> None:
        """In the middle of a session, the topic is that of the segments; the rest is unknown."""
        nobody = {"subscription": None, "consumer_name": None, "consumer_type": None}
        told = self.told(Answer(request_id=7, assignment=assignment(1)), "scalable_subscribe")
        self.holds(told, topic=TOPIC, status="ready", consumer_id=None, latency_s=None, **nobody)
        update = pb.CommandScalableTopicAssignmentUpdate(consumer_id=8, assignment=assignment(0))
        self.holds(self.told(update, "assignment"), topic=TOPIC, consumer_id=8, **nobody)
        nothing = pb.CommandScalableTopicAssignmentUpdate(consumer_id=8)
        self.holds(self.told(nothing, "assignment"), topic=None, segments=[], layout_epoch=None)
        unnamed = pb.ScalableConsumerAssignment(layout_epoch=1, segments=[pb.ScalableAssignedSegment(segment_id=5)])
        told = self.told(pb.CommandScalableTopicAssignmentUpdate(consumer_id=8, assignment=unnamed), "assignment")
        bare = {"segment_id": 5, "segment_topic": None, "hash_start": None, "hash_end": None}
        self.holds(told, topic=None, segments=[bare])
        leave = pb.CommandScalableTopicUnsubscribe(request_id=2, consumer_id=8)
        self.holds(self.told(leave, "scalable_unsubscribe"), topic=None, consumer_id=8, **nobody)

    def test_many_consumers(self) -> None:
        """Answers to several consumers may come in any order, and updates in between."""
        self.silent(subscribe(3, 1), subscribe(4, 2))
        update = pb.CommandScalableTopicAssignmentUpdate(consumer_id=3, assignment=assignment(0))
        self.holds(self.told(update, "assignment"), consumer_id=3, topic=TOPIC)
        told = self.told(Answer(request_id=2, assignment=assignment(1)), "scalable_subscribe")
        self.holds(told, consumer_id=4, latency_s=0.5)
        self.holds(self.told(Answer(request_id=1, assignment=assignment(0)), "scalable_subscribe"), consumer_id=3)

    def test_unknown_type(self) -> None:
        """A consumer type of a later release is absent."""
        request = subscribe()
        request.ClearField("consumer_type")
        self.silent(request)
        told = self.told(Answer(request_id=1, assignment=assignment(0)), "scalable_subscribe")
        self.holds(told, consumer_type=None)

    def test_bounded(self) -> None:
        """Numbers of sessions, consumers and listed segments are bounded."""
        for number in range(MAX_SESSIONS + 10):
            self.says(pb.CommandScalableTopicLookup(session_id=number, topic=TOPIC))
            self.says(subscribe(number, number))
        self.assertEqual(len(self.scalable), 2 * MAX_SESSIONS)
        many = [pb.ScalableAssignedSegment(segment_id=number) for number in range(1000)]
        told = self.told(
            Answer(request_id=number, assignment=pb.ScalableConsumerAssignment(layout_epoch=1, segments=many)),
            "scalable_subscribe",
        )
        self.assertEqual((len(tables(told["segments"])), told["segments_total"]), (MAX_LISTED, 1000))


class CoordinatorTests(ScalableCase):
    """Leaders of transaction coordinators."""

    def test_watch(self) -> None:
        """The first update answers the watch; later ones are told, too."""
        self.silent(pb.CommandWatchTcAssignments(watch_id=1))
        update = pb.CommandWatchTcAssignmentsUpdate(watch_id=1, snapshot=pb.TcAssignments(parallelism=4))
        self.holds(self.told(update, "coordinators"), status="success", parallelism=4, latency_s=0.25)
        self.holds(self.told(update, "coordinators"), latency_s=None)
        self.silent(pb.CommandWatchTcAssignmentsClose(watch_id=1))

    def test_refused(self) -> None:
        """A refused watch is told; one that is closed before the answer is not unanswered."""
        self.silent(pb.CommandWatchTcAssignments(watch_id=1), pb.CommandWatchTcAssignments(watch_id=2))
        refused = pb.CommandWatchTcAssignmentsUpdate(watch_id=1, error=pb.ServiceNotReady, message="not ready")
        self.holds(self.told(refused, "coordinators"), status="failed", error="ServiceNotReady", message="not ready")
        self.silent(pb.CommandWatchTcAssignmentsClose(watch_id=2))
        self.assertEqual(self.pending.end(self.time), [])
