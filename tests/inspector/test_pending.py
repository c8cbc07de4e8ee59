"""Tests for sniproxy.inspector.pending."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.pending import (
    ANSWER_TIMEOUT_S,
    ERROR_REQUESTS,
    MAX_PENDING,
    MAX_UNANSWERED,
    PLAIN_ANSWERS,
    PendingRequest,
    PendingRequests,
)
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.events import Event

T = pb.BaseCommand.Type


class PendingTests(SynchronousTestCase):
    """Pending: requests and answers."""

    def setUp(self) -> None:
        self.pending = PendingRequests("c")

    def test_answer(self) -> None:
        """An answer is matched to its request once, with the time between."""
        self.pending.add(T.LOOKUP, 7, 10.0, "t", {"x": 1})
        self.assertEqual(self.pending.take((T.LOOKUP,), 7, 10.25), (T.LOOKUP, PendingRequest("t", {"x": 1}), 0.25))
        self.assertEqual(self.pending.take((T.LOOKUP,), 7, 10.25), (None, PendingRequest(None, {}), None))

    def test_types_count_apart(self) -> None:
        """The same id for another type is another request; types are tried in order."""
        self.pending.add(T.LOOKUP, 0, 10.0, "lookup")
        self.pending.add(T.PRODUCER, 0, 11.0, "producer")
        self.assertEqual(self.pending.take(ERROR_REQUESTS, 0, 12.0)[:2], (T.PRODUCER, PendingRequest("producer", {})))
        self.assertEqual(self.pending.take(ERROR_REQUESTS, 0, 12.0)[:2], (T.LOOKUP, PendingRequest("lookup", {})))

    def test_time_goes_back(self) -> None:
        """If the clock is set back, the latency is not negative."""
        self.pending.add(T.LOOKUP, 7, 10.0)
        self.assertEqual(self.pending.take((T.LOOKUP,), 7, 9.0)[2], 0.0)

    def test_patience(self) -> None:
        """A request without an answer in time gives an event and is dropped."""
        self.pending.add(T.LOOKUP, 7, 10.0, "t")
        self.assertEqual(self.pending.expire(10.0 + ANSWER_TIMEOUT_S), [])
        late = 11.0 + ANSWER_TIMEOUT_S
        told = Event("unanswered", late, "c", {"request": "LOOKUP", "topic": "t", "waited_s": ANSWER_TIMEOUT_S + 1})
        self.assertEqual((self.pending.expire(late), len(self.pending)), ([told], 0))

    def test_bounded(self) -> None:
        """With too many requests, the oldest is dropped with an event."""
        for number in range(MAX_PENDING):
            self.assertEqual(self.pending.add(T.LOOKUP, number, 10.0), [])
        [event] = self.pending.add(T.LOOKUP, MAX_PENDING, 12.0)
        self.assertEqual((event.name, event.fields["waited_s"], len(self.pending)), ("unanswered", 2.0, MAX_PENDING))

    def test_end(self) -> None:
        """At the end, some of the remaining requests give events."""
        for number in range(MAX_UNANSWERED + 1):
            self.pending.add(T.LOOKUP, number, 10.0)
        self.assertEqual((len(self.pending.end(11.0)), len(self.pending)), (MAX_UNANSWERED, 0))

    def test_outcome(self) -> None:
        """The fields of an answer's event."""
        outcome = PendingRequest("t", {"id": 1}).outcome("failed", 0.5, "ServiceNotReady", "later")
        about = {"topic": "t", "status": "failed", "id": 1, "latency_s": 0.5}
        self.assertEqual(outcome, {**about, "error": "ServiceNotReady", "message": "later"})

    def test_tables(self) -> None:
        """The tables of answers match the declared messages."""
        fields = pb.BaseCommand.DESCRIPTOR.fields
        by_number = {field.number: kind for field in fields if (kind := field.message_type) is not None}
        for answer, (request, error, message) in PLAIN_ANSWERS.items():
            self.assertIn("request_id", by_number[request].fields_by_name)
            self.assertIn("request_id", by_number[answer].fields_by_name)
            for name in (error, message):
                self.assertTrue(name is None or name in by_number[answer].fields_by_name)
        for request in ERROR_REQUESTS:
            self.assertIn("request_id", by_number[request].fields_by_name)
