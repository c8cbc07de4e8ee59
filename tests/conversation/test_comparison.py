"""Tests for sniproxy.conversation.comparison."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.comparison import Comparison, Rules, translate
from sniproxy.conversation.entry import build, describe
from sniproxy.conversation.mapping import Mapping
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.frames import Frame, read_section
from tests.conversation.talk import frame, section

URL = "pulsar://b:1"


def producer(**fields: Any) -> Any:
    return {"command": "PRODUCER", "fields": {"topic": "t", "producer_id": 1, "request_id": 1, **fields}}


class ComparisonTests(SynchronousTestCase):
    """Comparison."""

    def setUp(self) -> None:
        self.mapping = Mapping()

    def paths(self, recorded: Any, came: Any, rules: Rules | None = None, learn: bool = True) -> list[str]:
        comparison = Comparison(self.mapping, rules or Rules())
        self.found = comparison.differences(recorded, came, learn=learn)
        return [each.path for each in self.found]

    def test_ids(self) -> None:
        """Ids may be others, but the same in the whole conversation; trying binds nothing."""
        self.assertEqual([], self.paths(producer(), producer(producer_id=9), learn=False))
        self.assertEqual([], self.paths(producer(), producer(producer_id=8, request_id=70)))
        self.assertEqual(["producer_id"], self.paths(producer(request_id=2), producer(producer_id=9, request_id=71)))
        self.assertEqual(("8", "9"), (self.found[0].expected, self.found[0].came))

    def test_fields(self) -> None:
        """Another value, a missing one and a further one are differences; a default is none."""
        self.assertEqual(["topic"], self.paths(producer(), producer(topic="u")))
        self.assertEqual(("'t'", "'u'"), (self.found[0].expected, self.found[0].came))
        self.assertEqual([], self.paths(producer(), producer(encrypted=False, user_provided_producer_name=True)))
        self.assertEqual(["encrypted"], self.paths(producer(encrypted=True), producer()))
        self.assertEqual(["#50"], self.paths(producer(), producer(**{"#50": 1})))
        self.assertEqual(("nothing", "1"), (self.found[0].expected, self.found[0].came))
        self.assertEqual(["schema"], self.paths(producer(), producer(schema={"name": "x"})))
        self.assertEqual(
            ["schema.type"], self.paths(producer(schema={"type": "Json"}), producer(schema={"type": "Avro"}))
        )
        blob = {"base64": "eA=="}
        self.assertEqual(["#51"], self.paths(producer(**{"#51": blob}), producer(**{"#51": {"base64": ""}})))
        self.assertIn("not shown", self.found[0].came)

    def test_long(self) -> None:
        """Values are shown in printable ASCII and cut."""
        self.paths(producer(), producer(topic="\x1b" + "x" * 500))
        self.assertTrue(self.found[0].came.isprintable())
        self.assertLess(len(self.found[0].came), 140)

    def test_lists(self) -> None:
        """Properties have no order, and their values are never shown; another number of values is a difference."""
        one, two = {"key": "a", "value": "secret-1"}, {"key": "b", "value": "secret-2"}
        self.assertEqual([], self.paths(producer(metadata=[one, two]), producer(metadata=[two, one])))
        other = {"key": "b", "value": "secret-3"}
        self.assertEqual(
            ["metadata[1].value"], self.paths(producer(metadata=[one, two]), producer(metadata=[one, other]))
        )
        self.assertNotIn("secret", str(self.found))
        self.assertEqual(["metadata"], self.paths(producer(metadata=[one]), producer()))
        self.assertEqual(("1 values", "0 values"), (self.found[0].expected, self.found[0].came))

    def test_struck(self) -> None:
        """Only the presence of what was struck out is compared."""
        connect = {"command": "CONNECT", "fields": {"auth_data": {"struck": 5}}}
        for value in ({"base64": "eA=="}, {"struck": 7}):
            self.assertEqual([], self.paths(connect, {"command": "CONNECT", "fields": {"auth_data": value}}))
        self.assertEqual(["auth_data"], self.paths(connect, {"command": "CONNECT", "fields": {}}))
        self.assertEqual(["auth_data"], self.paths({"command": "CONNECT"}, connect))
        self.assertNotIn("5", self.found[0].came)
        listed = {"key": "a", "value": {"struck": 3}}
        self.assertEqual([], self.paths(producer(metadata=[listed]), producer(metadata=[{"key": "a", "value": "x"}])))

    def test_rules(self) -> None:
        """Versions are compared on request, times never, ignored fields not."""
        old, new = ({"command": "CONNECT", "fields": {"client_version": each}} for each in ("1", "2"))
        self.assertEqual([], self.paths(old, new))
        self.assertEqual(["client_version"], self.paths(old, new, Rules(strict=True)))
        for name in ("topic", "PRODUCER.topic"):
            self.assertEqual([], self.paths(producer(), producer(topic="u"), Rules(ignore=[name])))
        self.assertEqual(["topic"], self.paths(producer(), producer(topic="u"), Rules(ignore=["SEND.topic"])))

    def test_payload(self) -> None:
        """Payloads are compared, or the size and hash of a struck one; zeros stand for it."""
        command = pb.CommandSend(producer_id=1, sequence_id=0)

        def send(payload: bytes, keep_all: bool = True) -> Any:
            one = frame(command, section(payload))
            return describe(one) if keep_all else describe(one, ())

        for kept in (True, False):
            self.assertEqual([], self.paths(send(b"one", kept), send(b"one")))
            self.assertEqual(["payload"], self.paths(send(b"one", kept), send(b"two")))
            self.assertEqual(["payload"], self.paths(send(b"one", kept), send(b"three")))
            self.assertEqual(["payload"], self.paths(send(b"one", kept), send(bytes(5))))
            self.assertEqual(("3 bytes", "5 bytes"), (self.found[0].expected, self.found[0].came))
            self.assertEqual("payload", self.paths(send(b"one", kept), describe(frame(command)))[-1])
            self.assertEqual([], self.paths(send(b"one", kept), send(b"two"), Rules(ignore=["payload"])))
        self.assertEqual([], self.paths(send(b"one", False), send(bytes(3))))
        self.assertEqual([], self.paths(send(b"one", False), send(b"one", False)))
        self.assertEqual("payload", self.paths(describe(frame(command)), send(b"two"))[-1])
        bare = {**send(b"one", False), "payload": {"bytes": 3}}
        self.assertEqual([], self.paths(bare, send(b"two")))

    def test_metadata(self) -> None:
        """The metadata of a message is compared; sequence ids belong to their producer."""
        send = [
            describe(frame(pb.CommandSend(producer_id=number, sequence_id=at), section(b"x", at, f"p{number}")))
            for number, at in ((1, 0), (2, 0), (2, 7))
        ]
        self.assertEqual([], self.paths(send[0], send[0]))
        self.assertEqual([], self.paths(send[1], send[2]))
        changed = {**send[0], "metadata": {**send[0]["metadata"], "compression": "LZ4"}}
        self.assertEqual(["metadata.compression"], self.paths(send[0], changed))

    def test_sections(self) -> None:
        """A section that is no message is compared as bytes."""
        one, two = ({"command": "SEND", "section": {"base64": each}} for each in ("eA==", "eHg="))
        self.assertEqual([], self.paths(one, one))
        self.assertEqual(["section"], self.paths(one, two))
        self.assertEqual(["section"], self.paths(one, {"command": "SEND"}))
        self.assertEqual([], self.paths({"command": "SEND", "section": {"struck": 5}}, two))


class TranslateTests(SynchronousTestCase):
    """translate."""

    def test_ids(self) -> None:
        """Bound ids and names are replaced, and the checksum is computed anew."""
        mapping = Mapping()
        mapping.bind(("producer", None), 1, 9)
        mapping.bind(("producer name", None), "p-1", "mine")
        entry = describe(frame(pb.CommandSend(producer_id=1, sequence_id=0), section(b"x")))
        new = translate(entry, mapping)
        self.assertEqual(9, new["fields"]["producer_id"])
        self.assertEqual("mine", new["metadata"]["producer_name"])
        self.assertNotEqual(entry["checksum"], read_section(build(new).section).checksum)
        self.assertEqual(entry, translate(entry, Mapping()))
        ack = pb.CommandAck(consumer_id=1, message_id=[pb.MessageIdData(ledgerId=4, entryId=5)])
        mapping.bind(("entry", 4), 5, 50)
        self.assertEqual(50, translate(describe(frame(ack)), mapping)["fields"]["message_id"][0]["entryId"])

    def test_exact(self) -> None:
        """An unusual encoding is given up when something was replaced."""
        entry = describe(Frame(b"\x92\x01\x02\x08\x01\x08\x12"))
        self.assertIn("exact", entry)
        self.assertEqual(entry, translate(entry, Mapping()))

    def test_urls(self) -> None:
        """URLs of brokers are mapped, or kept."""
        answer = pb.CommandLookupTopicResponse(
            request_id=1, brokerServiceUrl=URL, brokerServiceUrlTls="pulsar+ssl://b:2"
        )
        fields = translate(describe(frame(answer)), Mapping(), lambda url: f"{url}3")["fields"]
        self.assertEqual((f"{URL}3", "pulsar+ssl://b:23"), (fields["brokerServiceUrl"], fields["brokerServiceUrlTls"]))
        self.assertEqual(URL, translate(describe(frame(answer)), Mapping())["fields"]["brokerServiceUrl"])
        struck = {"command": "PRODUCER_SUCCESS", "fields": {"producer_name": {"struck": 2}, "request_id": 1}}
        self.assertEqual(struck, translate(struck, Mapping()))
