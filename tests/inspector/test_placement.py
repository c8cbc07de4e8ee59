"""Tests for sniproxy.inspector.placement."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.layouts import tables
from sniproxy.inspector.placement import MAX_LISTED, MAX_PARENTS, broker_urls, coordinators, scalable_topic
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.events import Fields


class UrlTests(SynchronousTestCase):
    """broker_urls."""

    def test_absent(self) -> None:
        """An absent field is None; an empty one is empty."""
        close = pb.CommandCloseProducer(assignedBrokerServiceUrl="")
        urls = broker_urls(close, "assignedBrokerServiceUrl", "assignedBrokerServiceUrlTls")
        self.assertEqual(urls, {"broker_url": "", "broker_url_tls": None})


class ScalableTopicTests(SynchronousTestCase):
    """scalable_topic: Pulsar 5.0's topics of segments."""

    def test_segments(self) -> None:
        """All segments with their brokers, and the controller."""
        dag = pb.ScalableTopicDag(
            epoch=3,
            segments=[
                pb.ScalableTopicSegment(
                    segment_id=1, state=pb.ScalableTopicSegment.SEALED, legacy_topic_name="persistent://a/b/c"
                ),
                pb.ScalableTopicSegment(
                    segment_id=2,
                    hash_start=0,
                    hash_end=0x7FFF,
                    parent_ids=[1, 9],
                    created_at_epoch=3,
                    created_at_ms=1500,
                ),
                pb.ScalableTopicSegment(segment_id=3),
            ],
            segment_brokers=[
                pb.ScalableTopicSegmentBroker(segment_id=2, broker_url="pulsar://b", broker_url_tls="pulsar+ssl://b")
            ],
            controller_broker_url="pulsar://c",
        )
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=dag, resolved_topic_name="topic://a/b/c")
        fields = scalable_topic(update, None, 0.5)
        nothing: Fields = {"topic": None, "segment_topic": None, "hash_start": None, "hash_end": None, "sealed": False}
        nothing |= {"parents": [], "created_epoch": None, "created": None, "broker_url": None, "broker_url_tls": None}
        older = {"topic": "persistent://a/b/c", "segment_topic": "persistent://a/b/c", "sealed": True}
        whole = {
            "segment_topic": "segment://a/b/c/0000-7fff-2",
            "hash_start": 0,
            "hash_end": 0x7FFF,
            "parents": [1, 9],
            "created_epoch": 3,
            "created": 1.5,
            "broker_url": "pulsar://b",
            "broker_url_tls": "pulsar+ssl://b",
        }
        expected = [
            {**nothing, "segment_id": 1, **older},
            {**nothing, "segment_id": 2, **whole},
            {**nothing, "segment_id": 3},
        ]
        self.assertEqual(fields["segments"], expected)
        self.assertEqual((fields["status"], fields["epoch"], fields["segments_total"]), ("success", 3, 3))
        self.assertEqual((fields["controller_broker_url"], fields["controller_broker_url_tls"]), ("pulsar://c", None))
        self.assertEqual((fields["resolved_topic"], fields["latency_s"]), ("topic://a/b/c", 0.5))

    def test_name_by_request(self) -> None:
        """Without a resolved name, segments are named after the requested topic."""
        segment = pb.ScalableTopicSegment(segment_id=0, hash_start=0, hash_end=0xFFFF)
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=pb.ScalableTopicDag(epoch=0, segments=[segment]))
        names = []
        for topic in ("topic://a/b/c", None):
            [listed] = tables(scalable_topic(update, topic, None)["segments"])
            names.append(listed["segment_topic"])
        self.assertEqual(names, ["segment://a/b/c/0000-ffff-0", None])

    def test_failed(self) -> None:
        """An error or an empty update is a failure."""
        update = pb.CommandScalableTopicUpdate(session_id=1, error=pb.TopicNotFound, message="no")
        fields = scalable_topic(update, None, None)
        self.assertEqual((fields["status"], fields["error"], fields["message"]), ("failed", "TopicNotFound", "no"))
        self.assertEqual(scalable_topic(pb.CommandScalableTopicUpdate(session_id=1), None, None)["status"], "failed")

    def test_bounded(self) -> None:
        """Only the first of many segments are listed."""
        many = [pb.ScalableTopicSegment(segment_id=at, parent_ids=range(100)) for at in range(1000)]
        dag = pb.ScalableTopicDag(epoch=1, segments=many)
        fields = scalable_topic(pb.CommandScalableTopicUpdate(session_id=1, dag=dag), None, None)
        listed = tables(fields["segments"])
        self.assertEqual(listed[0]["parents"], [*range(MAX_PARENTS)])
        self.assertEqual((len(listed), fields["segments_total"]), (MAX_LISTED, 1000))


class CoordinatorTests(SynchronousTestCase):
    """coordinators: where transaction coordinators are."""

    def test_assignments(self) -> None:
        """All coordinators with their brokers."""
        at = pb.TcAssignment(tc_id=3, broker_service_url="pulsar://b")
        update = pb.CommandWatchTcAssignmentsUpdate(
            watch_id=1, snapshot=pb.TcAssignments(parallelism=16, assignments=[at])
        )
        good = {"status": "success", "latency_s": 0.5, "error": None, "message": None}
        listed = [{"tc_id": 3, "broker_url": "pulsar://b", "broker_url_tls": None}]
        self.assertEqual(
            coordinators(update, 0.5), {**good, "parallelism": 16, "assignments": listed, "assignments_total": 1}
        )

    def test_nothing(self) -> None:
        """An update without a snapshot lists nothing."""
        fields = coordinators(pb.CommandWatchTcAssignmentsUpdate(watch_id=1), None)
        self.assertEqual((fields["parallelism"], fields["assignments"], fields["assignments_total"]), (None, [], 0))

    def test_failed(self) -> None:
        """An error is told, also one of a later release."""
        refused = pb.CommandWatchTcAssignmentsUpdate(watch_id=1, error=pb.ServiceNotReady, message="not ready")
        fields = coordinators(refused, None)
        self.assertEqual(
            (fields["status"], fields["error"], fields["message"]), ("failed", "ServiceNotReady", "not ready")
        )
        fields = coordinators(pb.CommandWatchTcAssignmentsUpdate.FromString(b"\x08\x01\x18\x63"), None)
        self.assertEqual((fields["status"], fields["error"]), ("failed", "ServerError 99"))
