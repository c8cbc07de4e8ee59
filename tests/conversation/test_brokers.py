"""Tests for sniproxy.conversation.brokers."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.brokers import address_of, brokers_by_address, is_proxied
from sniproxy.conversation.textform import Conversation
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from tests.conversation.talk import conversation, talk


def to(broker: str, *urls: str, proxied: bool = False) -> Conversation:
    """A connection to a broker, which has told a client these URLs."""
    answers = [
        write(pb.CommandLookupTopicResponse(request_id=1, brokerServiceUrl=url, proxy_through_service_url=proxied))
        for url in urls
    ]
    return attrs.evolve(conversation([("broker", answer) for answer in answers] or talk()), broker=broker)


class BrokersTests(SynchronousTestCase):
    """Which broker a URL leads to."""

    def test_addresses(self) -> None:
        """URLs have the addresses of the connections."""
        first = to("a:1", "pulsar://a:1", "pulsar://b:2", "pulsar+ssl://c:3", "nonsense")
        self.assertEqual({"b:2": "b:2", "c:3": "c:3"}, brokers_by_address([first, to("b:2"), to("c:3"), to("b:2")]))

    def test_names(self) -> None:
        """Names belong to the IP addresses of later connections in their order, if there are as many of both."""
        first = to("10.0.0.1:1", "pulsar://b:1", "pulsar://c:1")
        played = [first, to("10.0.0.2:1"), to("10.0.0.3:1")]
        self.assertEqual({"b:1": "10.0.0.2:1", "c:1": "10.0.0.3:1"}, brokers_by_address(played))
        self.assertEqual({}, brokers_by_address(played[:2]))
        self.assertEqual({"c:1": "c:1", "b:1": "10.0.0.2:1"}, brokers_by_address([*played[:2], to("c:1")]))

    def test_one(self) -> None:
        """All URLs lead to the one broker, whatever its name there; so they do through a proxy."""
        self.assertEqual({}, brokers_by_address([to("a:1", "pulsar://a:1")]))
        self.assertEqual({}, brokers_by_address([to("10.0.0.1:1", "pulsar://a:1"), to("10.0.0.1:1")]))
        self.assertEqual({}, brokers_by_address([to("a:1", "pulsar://b:2", proxied=True), to("a:1")]))

    def test_proxied(self) -> None:
        """The answer to a lookup says whether the client stays with its address."""
        for entry, expected in (
            ({"command": "PING"}, False),
            ({"command": "LOOKUP_RESPONSE", "fields": {"proxy_through_service_url": True}}, True),
            ({"command": "LOOKUP_RESPONSE", "fields": {}}, False),
        ):
            self.assertEqual(expected, is_proxied(entry))

    def test_address(self) -> None:
        """Of several hosts, the first counts; what is no URL has no address."""
        self.assertEqual("a:1", address_of("pulsar://a:1,b:2"))
        self.assertEqual("[::1]:6651", address_of("pulsar+ssl://[::1]"))
        self.assertIsNone(address_of("a:1"))
