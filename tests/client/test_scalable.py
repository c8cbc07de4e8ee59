"""Tests for sniproxy.client.scalable."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.scalable import Layout, Segment, controller_address, read_layout, unsupported
from sniproxy.pulsar import commands_pb2 as pb

TOPIC = "topic://public/default/s"


def update(**dag: object) -> pb.CommandScalableTopicUpdate:
    return pb.CommandScalableTopicUpdate(session_id=1, dag=pb.ScalableTopicDag(epoch=7, **dag))  # type: ignore[arg-type]


class ReadLayoutTests(SynchronousTestCase):
    """read_layout: the answer of a broker."""

    def test_layout(self) -> None:
        """Segments have their names, ranges, states and brokers; absent values are None."""
        segments = [
            pb.ScalableTopicSegment(segment_id=0, hash_start=0, hash_end=0x7FFF, state=pb.ScalableTopicSegment.SEALED),
            pb.ScalableTopicSegment(segment_id=12, hash_start=0x8000, hash_end=0xFFFF),
            pb.ScalableTopicSegment(segment_id=2, legacy_topic_name="persistent://public/default/s-partition-0"),
        ]
        brokers = [
            pb.ScalableTopicSegmentBroker(segment_id=12, broker_url="pulsar://b:1", broker_url_tls="pulsar+ssl://b:2"),
            pb.ScalableTopicSegmentBroker(segment_id=2, broker_url=""),
        ]
        found = read_layout(update(segments=segments, segment_brokers=brokers), TOPIC, "b")
        self.assertEqual(
            Layout(
                7,
                (
                    Segment(0, "segment://public/default/s/0000-7fff-0", 0, 0x7FFF, True, None, None),
                    Segment(
                        12,
                        "segment://public/default/s/8000-ffff-12",
                        0x8000,
                        0xFFFF,
                        False,
                        "pulsar://b:1",
                        "pulsar+ssl://b:2",
                    ),
                    Segment(2, "persistent://public/default/s-partition-0", None, None, False, None, None),
                ),
            ),
            found,
        )

    def test_controller(self) -> None:
        """Clients with TLS dial the controller's TLS URL, or the plain one by TLS if there is no other."""
        for plain, tls, wanted in (
            ("p", "t", ("t", "p")),
            ("p", None, ("p", "p")),
            ("p", "", ("p", "p")),
            (None, None, (None, None)),
        ):
            found = read_layout(update(controller_broker_url=plain, controller_broker_url_tls=tls), TOPIC, "b")
            self.assertEqual(wanted, (found.controller_url(True), found.controller_url(False)))

    def test_error(self) -> None:
        """An answer with an error, or without a layout, is a failure."""
        refused = pb.CommandScalableTopicUpdate(session_id=1, error=pb.TopicNotFound, message="no topic")
        for answer, kind, reason in (
            (refused, FailureKind.NOT_FOUND, "b1: TopicNotFound: no topic"),
            (pb.CommandScalableTopicUpdate(session_id=1), FailureKind.REFUSED, "b1: no error code"),
        ):
            failure = self.assertRaises(ClientError, read_layout, answer, TOPIC, "b1")
            self.assertEqual((kind, reason), (failure.kind, failure.reason))


class ControllerTests(SynchronousTestCase):
    """controller_address, and the error for a broker without scalable topics."""

    def test_address(self) -> None:
        """Host and port of any service URL; another text is a failure."""
        self.assertEqual(("127.0.0.1", 6650), controller_address("pulsar://127.0.0.1"))
        self.assertEqual(("b.test", 7), controller_address("pulsar+ssl://B.test:7"))
        failure = self.assertRaises(ClientError, controller_address, "http://b.test")
        self.assertEqual(FailureKind.NO_TLS_URL, failure.kind)

    def test_unsupported(self) -> None:
        """The error has the version, if the broker reports one."""
        self.assertIn("b:1: Pulsar 4.2 does not support scalable topics", unsupported("b:1", "Pulsar 4.2").reason)
        self.assertIn("b:1: this broker does not", unsupported("b:1", None).reason)
