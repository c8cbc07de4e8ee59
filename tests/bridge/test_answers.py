"""How a broker's commands are rewritten."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.bridge.answers import HEADER_BYTES, MAX_PROBLEMS, TYPES, Answers, BridgeCallbacks, Response, failed
from sniproxy.bridge.pending import PendingLookups
from sniproxy.config.allowed import Allowing, Broker, parse_allowed
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameError, encode
from sniproxy.util.buffered import BufferAccount

B1, B2 = "pulsar+ssl://broker-1.pulsar.test:6651", "pulsar+ssl://broker-2.pulsar.test:6652"
PLAIN1 = "pulsar://broker-1.pulsar.test:6651"
TOPIC = "persistent://public/default/t"


class AnswersCase(SynchronousTestCase):
    """Gives commands of a broker to L{Answers}."""

    def setUp(self) -> None:
        self.followed: list[tuple[pb.CommandLookupTopic, Response]] = []
        self.most_followed = 1
        self.warned: list[str] = []
        self.bridges: dict[Broker, str] = {}
        self.allowing = Allowing(None)
        self.pending = PendingLookups(pb.CommandConnect(client_version="c"), BufferAccount())
        self.answers = self.made()

    def made(self, allowing: Allowing | None = None, names_owners: bool = True, service: bool = True) -> Answers:
        callbacks = BridgeCallbacks(self.follow, self.bridges.get, self.warned.append)
        return Answers(allowing or self.allowing, callbacks, self.pending if service else None, names_owners)

    def follow(self, lookup: pb.CommandLookupTopic, answer: Response) -> bool:
        if len(self.followed) == self.most_followed:
            return False
        self.followed.append((lookup, answer))
        return True

    def passed(self, command: Any, answers: Answers | None = None) -> Any:
        """The frame that replaces a command; None: no frame."""
        frame = write(command)
        out = (answers or self.answers)(read(frame[8:]).type, frame)
        if not out:
            return None
        # Whatever passes is one whole frame.
        self.assertEqual(len(out), int.from_bytes(out[:4], "big") + 4)
        return fields_of(read(out[8:]))


class AnswersTests(AnswersCase):
    """Answers: the frames that replace a broker's."""

    def answer(self, kind: Any, **more: Any) -> Response:
        return Response(request_id=5, response=kind, **more)

    def ask(self, **more: Any) -> None:
        self.pending.client(write(pb.CommandLookupTopic(topic=TOPIC, request_id=5, **more)))

    def test_connect(self) -> None:
        """The plain URL is made from the TLS URL, with the flag to connect through the service URL."""
        for more in ({}, {"brokerServiceUrl": "pulsar://10.0.0.7:6650"}):
            said = self.passed(self.answer(Response.Connect, brokerServiceUrlTls=B1, authoritative=True, **more))
            self.assertEqual((PLAIN1, B1, 5), (said.brokerServiceUrl, said.brokerServiceUrlTls, said.request_id))
            self.assertTrue(said.proxy_through_service_url and said.authoritative)
        self.assertIsNone(self.allowing.denies(("broker-1.pulsar.test", 6651)))

    def test_proxy_field_is_replaced(self) -> None:
        """proxy_through_service_url is replaced if the broker sent it as false: the field occurs once."""
        frame = write(self.answer(Response.Connect, brokerServiceUrlTls=B1, proxy_through_service_url=False))
        out = self.answers(pb.BaseCommand.LOOKUP_RESPONSE, frame)
        self.assertEqual(1, out.count(b"\x40\x01"))
        self.assertNotIn(b"\x40\x00", out)

    def test_no_tls_url(self) -> None:
        """An answer without a valid TLS URL becomes a failure whose text has the cause."""
        self.ask(advertised_listener_name="internal")
        said = self.passed(self.answer(Response.Connect, brokerServiceUrl="pulsar://127.0.0.1:6660"))
        self.assertEqual((Response.Failed, pb.ServerError.ServiceNotReady), (said.response, said.error))
        self.assertIn("names no TLS URL for the listener internal", said.message)
        self.assertIn("names no TLS URL for the listener internal", self.warned[0])
        self.assertFalse(said.HasField("brokerServiceUrl"))
        for bad in ("pulsar://b.test:6650", "pulsar+ssl://b c:1", "http://x"):
            said = self.passed(self.answer(Response.Connect, brokerServiceUrlTls=bad))
            self.assertEqual(Response.Failed, said.response)

    def test_not_allowed(self) -> None:
        """An owner that allow does not match becomes a failure; the client gets the reason, and it is logged."""
        answers = self.made(Allowing([parse_allowed("*.other.test")]))
        said = self.passed(self.answer(Response.Connect, brokerServiceUrlTls=B1), answers)
        self.assertEqual(Response.Failed, said.response)
        self.assertIn("broker-1.pulsar.test:6651", said.message)
        self.assertIn("bridge's allow list", self.warned[0])

    def test_failed(self) -> None:
        """A failure passes unchanged."""
        frame = write(self.answer(Response.Failed, error=pb.ServerError.AuthorizationError, message="no"))
        self.assertEqual(frame, self.answers(pb.BaseCommand.LOOKUP_RESPONSE, frame))

    def test_redirect(self) -> None:
        """A redirect does not reach the client: the bridge follows it, with the lookup that it answers."""
        self.ask()
        self.assertIsNone(self.passed(self.answer(Response.Redirect, brokerServiceUrlTls=B2)))
        ((lookup, answer),) = self.followed
        self.assertEqual((TOPIC, B2), (lookup.topic, answer.brokerServiceUrlTls))

    def test_too_many_redirects(self) -> None:
        """If too many lookups are redirected at once, a further redirect is a failure."""
        self.most_followed = 0
        self.ask()
        said = self.passed(self.answer(Response.Redirect, brokerServiceUrlTls=B2))
        self.assertEqual((Response.Failed, 5), (said.response, said.request_id))

    def test_redirect_of_an_unknown_lookup(self) -> None:
        """A redirect for an unknown lookup, or on the connection to an owner, is a failure."""
        for answers in (self.answers, self.made(service=False)):
            said = self.passed(self.answer(Response.Redirect, brokerServiceUrlTls=B2), answers)
            self.assertEqual(Response.Failed, said.response)
        self.assertEqual([], self.followed)

    def test_close(self) -> None:
        """CLOSE_* get the plain URL of the new owner and no other URL; without a URL they pass unchanged."""
        producer = pb.CommandCloseProducer(producer_id=7, request_id=1)
        consumer = pb.CommandCloseConsumer(consumer_id=7, request_id=1)
        closes: tuple[Any, ...] = (producer, consumer)
        for made in closes:
            plain = write(made)
            self.assertEqual(plain, self.answers(read(plain[8:]).type, plain))
            made.assignedBrokerServiceUrlTls = B1
            said = self.passed(made)
            self.assertEqual(PLAIN1, said.assignedBrokerServiceUrl)
            made.ClearField("assignedBrokerServiceUrlTls")
            made.assignedBrokerServiceUrl = "pulsar://10.0.0.7:6650"
            said = self.passed(made)
            self.assertFalse(said.HasField("assignedBrokerServiceUrl"))

    def test_close_that_may_not_name(self) -> None:
        """CLOSE_* lose their URLs if the topic migrated or the owner is not allowed: clients look up again."""
        made = pb.CommandCloseProducer(producer_id=7, request_id=1, assignedBrokerServiceUrlTls=B1)
        for answers in (self.made(names_owners=False), self.made(Allowing([]))):
            said = self.passed(made, answers)
            self.assertFalse(said.HasField("assignedBrokerServiceUrl") or said.HasField("assignedBrokerServiceUrlTls"))

    def test_migrated(self) -> None:
        """A migrating topic leads to the bridge of its new cluster; without one the command is dropped and logged."""
        made = pb.CommandTopicMigrated(resource_id=1, resource_type=pb.CommandTopicMigrated.Producer)
        made.brokerServiceUrlTls = B2
        made.brokerServiceUrl = "pulsar://green:6650"
        self.assertIsNone(self.passed(made))
        self.assertIn("add a [[bridge]] with service_url = pulsar+ssl://broker-2.pulsar.test:6652", self.warned[0])
        self.bridges["broker-2.pulsar.test", 6652] = "pulsar://127.0.0.1:6750"
        self.assertEqual("pulsar://127.0.0.1:6750", self.passed(made).brokerServiceUrl)
        made.ClearField("brokerServiceUrlTls")
        self.assertIsNone(self.passed(made))

    def test_connected(self) -> None:
        """CONNECTED sets the frame limit, and passes unchanged with all of the broker's features."""
        flags = pb.FeatureFlags(supports_scalable_topics=True, supports_tc_metadata_discovery=True)
        for features in (None, flags):
            frame = write(pb.CommandConnected(server_version="s", max_message_size=1000, feature_flags=features))
            self.assertEqual(frame, self.answers(pb.BaseCommand.CONNECTED, frame))
        self.assertEqual(1000 + HEADER_BYTES, self.answers.limit)

    def test_unreadable(self) -> None:
        """An unreadable command does not pass: it could lead the client past the bridge."""
        frame = encode(b"\x08\x18\xc2\x01\x00")  # LOOKUP_RESPONSE without its number
        self.assertRaises(FrameError, self.answers, pb.BaseCommand.LOOKUP_RESPONSE, frame)
        for kind in TYPES:  # and PING, which it says last
            frame = encode(bytes([pb.BaseCommand.TYPE_FIELD_NUMBER << 3, kind]) + write(pb.CommandPing())[8:])
            self.assertRaises(FrameError, self.answers, kind, frame)

    def test_final_failure(self) -> None:
        """An answer of unknown type passes unchanged; the bridge's own failure has the client's request id."""
        said = fields_of(read(self.answers.final(Response(request_id=3), None)[8:]))
        self.assertFalse(said.HasField("brokerServiceUrl"))
        said = fields_of(read(failed(9, "why")[8:]))
        self.assertEqual((9, Response.Failed, "why"), (said.request_id, said.response, said.message))


INTERNAL = "pulsar://10.0.0.7:6650"


def leaders(*urls: tuple[str, str]) -> pb.CommandWatchTcAssignmentsUpdate:
    """The leaders of coordinators 0, 1, ... by their plain and TLS URLs. Empty: the field is absent."""
    update = pb.CommandWatchTcAssignmentsUpdate(watch_id=3)
    update.snapshot.parallelism = len(urls)
    for number, (plain, tls) in enumerate(urls):
        assignment = update.snapshot.assignments.add(tc_id=number)
        if plain:
            assignment.broker_service_url = plain
        if tls:
            assignment.broker_service_url_tls = tls
    return update


class ScalableTests(AnswersCase):
    """Commands of Pulsar 5.0 that carry URLs of brokers."""

    def test_coordinators(self) -> None:
        """Each leader gets the plain URL of its TLS URL, in place of its internal one, and may be named in CONNECT."""
        said = self.passed(leaders((INTERNAL, B1), ("", B2)))
        self.assertEqual((3, 2, False), (said.watch_id, said.snapshot.parallelism, said.HasField("error")))
        self.assertEqual(
            [(0, PLAIN1, B1), (1, "pulsar://broker-2.pulsar.test:6652", B2)],
            [(each.tc_id, each.broker_service_url, each.broker_service_url_tls) for each in said.snapshot.assignments],
        )
        self.assertIsNone(self.allowing.denies(("broker-2.pulsar.test", 6652)))
        self.assertEqual([], self.warned)

    def test_some_coordinators(self) -> None:
        """A leader without a TLS URL, or that allow does not match, is left out and logged."""
        answers = self.made(Allowing([parse_allowed("broker-2.pulsar.test:6652")]))
        said = self.passed(leaders((INTERNAL, ""), ("", B2), (INTERNAL, B1), (INTERNAL, "")), answers)
        self.assertEqual([1], [each.tc_id for each in said.snapshot.assignments])
        self.assertEqual((4, False), (said.snapshot.parallelism, said.HasField("error")))
        self.assertEqual(2, len(self.warned))
        self.assertIn("transaction coordinator names no TLS URL", self.warned[0])
        self.assertIn("coordinator is broker-1.pulsar.test:6651, but it is not in", self.warned[1])

    def test_no_coordinator(self) -> None:
        """If no leader can be reached, the client gets an error with the cause. The log has a few lines at most."""
        count = MAX_PROBLEMS + 1
        many = [("", f"pulsar+ssl://broker-{number}.pulsar.test:6651") for number in range(count)]
        said = self.passed(leaders(*many), self.made(Allowing([])))
        self.assertEqual((3, pb.ServerError.ServiceNotReady), (said.watch_id, said.error))
        self.assertIn(f"is broker-{count - 1}.pulsar.test:6651, but it is not in the bridge's allow list", said.message)
        self.assertFalse(said.HasField("snapshot"))
        self.assertEqual(MAX_PROBLEMS, len(self.warned))

    def test_coordinators_without_leaders(self) -> None:
        """An error, and a list without a leader, pass unchanged."""
        refused = pb.CommandWatchTcAssignmentsUpdate(watch_id=3, error=pb.ServerError.ServiceNotReady, message="no")
        for made in (refused, leaders()):
            frame = write(made)
            self.assertEqual(frame, self.answers(pb.BaseCommand.WATCH_TC_ASSIGNMENTS_UPDATE, frame))

    def test_layout(self) -> None:
        """A scalable topic's layout keeps its segments and loses the URLs of their brokers and of the controller."""
        made = pb.CommandScalableTopicUpdate(session_id=1, resolved_topic_name="topic://public/default/t")
        made.dag.epoch = 7
        made.dag.segments.add(segment_id=2, state=pb.ScalableTopicSegment.ACTIVE)
        kept = write(made)
        self.assertEqual(kept, self.answers(pb.BaseCommand.SCALABLE_TOPIC_UPDATE, kept))
        for set_url in (
            lambda dag: dag.segment_brokers.add(segment_id=2, broker_url=INTERNAL),
            lambda dag: setattr(dag, "controller_broker_url", INTERNAL),
            lambda dag: setattr(dag, "controller_broker_url_tls", B1),
        ):
            set_url(made.dag)
            self.assertEqual(kept, self.answers(pb.BaseCommand.SCALABLE_TOPIC_UPDATE, write(made)))
        refused = pb.CommandScalableTopicUpdate(session_id=1, error=pb.ServerError.TopicNotFound)
        self.assertEqual(refused, self.passed(refused))

    @given(st.lists(st.tuples(st.sampled_from(("", INTERNAL, B1)), st.sampled_from(("", B1, B2, INTERNAL, "x")))))
    def test_any_coordinators(self, urls: list[tuple[str, str]]) -> None:
        """No plain URL passes but of an allowed broker by its TLS name, whatever the broker sends."""
        said = self.passed(leaders(*urls), self.made(Allowing([parse_allowed("broker-1.pulsar.test:6651")])))
        self.assertEqual(
            [number for number, (_, tls) in enumerate(urls) if tls == B1],
            [each.tc_id for each in said.snapshot.assignments],
        )
        self.assertLessEqual({each.broker_service_url for each in said.snapshot.assignments}, {PLAIN1})
        self.assertEqual(bool(urls) and not said.snapshot.assignments, said.HasField("error"))
