"""Tests for sniproxy.inspector.placement."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.placement import MAX_LISTED, broker_urls, coordinators, scalable_topic
from sniproxy.pulsar import commands_pb2 as pb


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
                pb.ScalableTopicSegment(segment_id=2),
            ],
            segment_brokers=[
                pb.ScalableTopicSegmentBroker(segment_id=2, broker_url="pulsar://b", broker_url_tls="pulsar+ssl://b")
            ],
            controller_broker_url="pulsar://c",
        )
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=dag, resolved_topic_name="topic://a/b/c")
        fields = scalable_topic(update, 0.5)
        self.assertEqual(
            fields["segments"],
            [
                {
                    "segment_id": 1,
                    "topic": "persistent://a/b/c",
                    "sealed": True,
                    "broker_url": None,
                    "broker_url_tls": None,
                },
                {
                    "segment_id": 2,
                    "topic": None,
                    "sealed": False,
                    "broker_url": "pulsar://b",
                    "broker_url_tls": "pulsar+ssl://b",
                },
            ],
        )
        self.assertEqual((fields["status"], fields["epoch"], fields["segments_total"]), ("success", 3, 2))
        self.assertEqual((fields["controller_broker_url"], fields["controller_broker_url_tls"]), ("pulsar://c", None))
        self.assertEqual((fields["resolved_topic"], fields["latency_s"]), ("topic://a/b/c", 0.5))

    def test_failed(self) -> None:
        """An error or an empty update is a failure."""
        update = pb.CommandScalableTopicUpdate(session_id=1, error=pb.TopicNotFound, message="no")
        fields = scalable_topic(update, None)
        self.assertEqual((fields["status"], fields["error"], fields["message"]), ("failed", "TopicNotFound", "no"))
        self.assertEqual(scalable_topic(pb.CommandScalableTopicUpdate(session_id=1), None)["status"], "failed")

    def test_bounded(self) -> None:
        """Only the first of many segments are listed."""
        dag = pb.ScalableTopicDag(epoch=1, segments=[pb.ScalableTopicSegment(segment_id=at) for at in range(1000)])
        fields = scalable_topic(pb.CommandScalableTopicUpdate(session_id=1, dag=dag), None)
        listed = fields["segments"]
        assert isinstance(listed, list)
        self.assertEqual((len(listed), fields["segments_total"]), (MAX_LISTED, 1000))


class CoordinatorTests(SynchronousTestCase):
    """coordinators: where transaction coordinators are."""

    def test_assignments(self) -> None:
        """All coordinators with their brokers."""
        at = pb.TcAssignment(tc_id=3, broker_service_url="pulsar://b")
        update = pb.CommandWatchTcAssignmentsUpdate(
            watch_id=1, snapshot=pb.TcAssignments(parallelism=16, assignments=[at])
        )
        listed = [{"tc_id": 3, "broker_url": "pulsar://b", "broker_url_tls": None}]
        self.assertEqual(coordinators(update), {"parallelism": 16, "assignments": listed, "assignments_total": 1})

    def test_nothing(self) -> None:
        """An update without a snapshot lists nothing."""
        fields = coordinators(pb.CommandWatchTcAssignmentsUpdate(watch_id=1))
        self.assertEqual(fields, {"parallelism": None, "assignments": [], "assignments_total": 0})
