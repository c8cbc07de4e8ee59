"""Tests for sniproxy.inspector.oversized."""

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.oversized import ANSWERED_REQUESTS, request_id, settle
from sniproxy.inspector.pending import PendingRequests
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write

T = pb.BaseCommand.Type


class OversizedTests(SynchronousTestCase):
    """request_id and settle."""

    def test_request_id(self) -> None:
        """The id is found at any place in the beginning; None if the beginning ends before it."""
        response = pb.CommandLookupTopicResponse(brokerServiceUrl="u" * 300, request_id=1 << 40)
        messages: list[tuple[int, Message]] = [
            (T.LOOKUP_RESPONSE, response),
            (T.SCALABLE_TOPIC_UPDATE, pb.CommandScalableTopicUpdate(session_id=1 << 40)),
            (T.SCALABLE_TOPIC_SUBSCRIBE_RESPONSE, pb.CommandScalableTopicSubscribeResponse(request_id=1 << 40)),
            (T.WATCH_SCALABLE_TOPICS_UPDATE, pb.CommandWatchScalableTopicsUpdate(watch_id=1 << 40)),
            (T.WATCH_TC_ASSIGNMENTS_UPDATE, pb.CommandWatchTcAssignmentsUpdate(watch_id=1 << 40)),
            (T.SUCCESS, pb.CommandSuccess(request_id=1 << 40)),
        ]
        for number, message in messages:
            self.assertEqual(1 << 40, request_id(number, write(message)[8:]))
        self.assertIsNone(request_id(T.LOOKUP_RESPONSE, write(response)[8:100]))

    @given(st.sampled_from(sorted(ANSWERED_REQUESTS)), st.binary(max_size=40))
    def test_any_bytes(self, number: int, beginning: bytes) -> None:
        """Any bytes give a number or None."""
        found = request_id(number, beginning)
        self.assertTrue(found is None or found >= 0)

    def test_settle(self) -> None:
        """The request with the id is removed, else the oldest one; without a pending request, none."""
        pending = PendingRequests("c")
        pending.add(T.PRODUCER, 0, 0.0)
        for number in (1, 2):
            pending.add(T.LOOKUP, number, 1.0, f"t{number}")
        known = write(pb.CommandLookupTopicResponse(response=pb.CommandLookupTopicResponse.Failed, request_id=2))[8:]
        self.assertEqual((T.LOOKUP, "t2", 1.0), settle(pending, T.LOOKUP_RESPONSE, known, 2.0))
        unknown = write(pb.CommandLookupTopicResponse(brokerServiceUrl="u" * 300, request_id=9))[8:100]
        self.assertEqual((T.LOOKUP, "t1", 1.0), settle(pending, T.LOOKUP_RESPONSE, unknown, 2.0))
        self.assertEqual((None, None, None), settle(pending, T.LOOKUP_RESPONSE, unknown, 2.0))
        self.assertEqual((None, None, None), settle(pending, T.TOPIC_MIGRATED, b"", 2.0))
        self.assertEqual(1, len(pending))
