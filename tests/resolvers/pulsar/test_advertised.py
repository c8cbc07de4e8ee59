"""Tests for sniproxy.resolvers.pulsar.advertised."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.pulsar.advertised import (
    BadBrokerData,
    BrokerListeners,
    broker_ids,
    from_configuration,
    from_node,
    from_template,
    parse_host_map,
    web_address,
)
from sniproxy.resolvers.pulsar.brokers import LiveBroker
from tests.resolvers.pulsar.reports import CONFIGURATION, ID, NODE, configured, leads, node, place


class ListTests(SynchronousTestCase):
    """The list of brokers."""

    def test_ids(self) -> None:
        """The ids are sorted and unique, without the schemes of old brokers."""
        self.assertEqual(
            ["a.test:8080", "b.test:8080"], broker_ids(b'["b.test:8080", "http://a.test:8080", "b.test:8080"]')
        )
        self.assertEqual([], broker_ids(b"[]"))

    def test_bad(self) -> None:
        """Other answers are refused."""
        for body in (b"", b"{}", b"[1]", b'["a.test"]', b'["a.test:99999"]', b'["a\\nb:1"]', b"[" * 100_000, b"\xff"):
            self.assertRaises(BadBrokerData, broker_ids, body)
        self.assertRaises(BadBrokerData, broker_ids, json.dumps([f"a{n}.test:1" for n in range(10_001)]).encode())

    def test_web_address(self) -> None:
        """An id has host and port; an IPv6 address is in brackets."""
        for web_id in ("[::1]:8080", "::1:8080"):
            self.assertEqual(("::1", 8080), web_address(web_id))
        for web_id in ("::1", "a:b:8080", "[::1]", ":8080"):
            self.assertRaises(BadBrokerData, web_address, web_id)


class ConfigurationTests(SynchronousTestCase):
    """A broker's runtime configuration."""

    def test_first_with_tls(self) -> None:
        """The name is that of the first TLS listener; the target is the web host with the bound port."""
        self.assertEqual(("broker-1.pulsar.test", "one.internal", 6651), place(configured()))

    def test_listener(self) -> None:
        """Another listener may be chosen; its port is the bound one, else the advertised one."""
        choice = BrokerListeners("dns")
        self.assertEqual(("broker-1.dns.test", "one.internal", 443), place(configured(choice)))
        for written in ("Optional[6661]", "6661"):
            self.assertEqual(6661, configured(choice, brokerServicePortTls=written).port)

    def test_no_such_listener(self) -> None:
        """For a missing listener, or one without TLS, the error names the TLS listeners."""
        error = self.assertRaises(BadBrokerData, configured, BrokerListeners("internal"))
        self.assertEqual(f"broker {ID} has no TLS listener 'internal'; its TLS listeners: external, dns", str(error))
        self.assertRaises(BadBrokerData, configured, BrokerListeners("internal"), advertisedListeners="")

    def test_without_listeners(self) -> None:
        """Without listeners the name is the advertised address, else the web host."""
        plain: dict[str, Any] = {
            "advertisedListeners": None,
            "bindAddresses": "",
            "brokerServicePortTls": "6651",
        }
        self.assertEqual(("one.internal", "one.internal", 6651), place(configured(**plain)))
        self.assertEqual("one.internal", configured(**{**plain, "advertisedAddress": None}).name)
        error = self.assertRaises(BadBrokerData, configured, **{**plain, "brokerServicePortTls": "Optional.empty"})
        self.assertIn("without TLS only", str(error))

    def test_hosts_and_port(self) -> None:
        """Options may set the address of a host or broker, and the port."""
        self.assertEqual(
            ("broker-1.pulsar.test", "10.0.0.1", 1),
            place(configured(BrokerListeners(hosts={"one.internal": "10.0.0.1"}, port=1))),
        )
        self.assertEqual("10.0.0.2", configured(BrokerListeners(hosts={"broker-1.pulsar.test": "10.0.0.2"})).host)

    def test_bad(self) -> None:
        """The error for an invalid configuration is bounded and printable."""
        for body in (b"", b"[]", b'{"advertisedListeners": []}'):
            self.assertRaises(BadBrokerData, from_configuration, ID, body, BrokerListeners())
        for listeners in ("external", "external:pulsar+ssl://a\nb:1", "e:pulsar+ssl://" + "x" * 9999):
            error = self.assertRaises(BadBrokerData, configured, advertisedListeners=listeners)
            self.assertTrue(str(error).isprintable() and len(str(error)) < 800, error)

    @given(st.dictionaries(st.sampled_from([*CONFIGURATION, *NODE]), st.text() | st.integers() | st.none()))
    def test_anything(self, said: dict[str, object]) -> None:
        """Any answer gives a broker or BadBrokerData."""
        for read in (from_configuration, from_node):
            try:
                self.assertIsInstance(read(ID, json.dumps(said).encode(), BrokerListeners()), LiveBroker)
            except BadBrokerData:
                pass


class TemplateTests(SynchronousTestCase):
    """A broker that advertises nothing."""

    def test_template(self) -> None:
        """The name is made from the host; the port is Pulsar's unless an option sets it."""
        self.assertEqual(("one.internal", "one.internal", 6651), place(from_template(ID, BrokerListeners())))
        named = from_template(
            ID, BrokerListeners(port=1, name="{label}.pulsar.test", hosts={"one.pulsar.test": "10.0.0.1"})
        )
        self.assertEqual(("one.pulsar.test", "10.0.0.1", 1), place(named))
        self.assertEqual({"one.pulsar.test": ("", 1), "one.internal": ("", 1)}, leads(named))

    def test_no_name(self) -> None:
        """An invalid name is an error."""
        self.assertRaises(BadBrokerData, from_template, "[::1]:1", BrokerListeners(name="{label}.pulsar.test"))


class NodeTests(SynchronousTestCase):
    """A broker's node in ZooKeeper."""

    def test_listeners(self) -> None:
        """The chosen listener counts; the port is the advertised one unless an option sets it."""
        self.assertEqual(("broker-1.pulsar.test", "one.internal", 443), place(node(BrokerListeners("external"))))
        self.assertEqual("broker-1.dns.test", node(BrokerListeners("dns")).name)
        self.assertEqual(6651, node(BrokerListeners("external", port=6651)).port)
        self.assertRaises(BadBrokerData, node, BrokerListeners("internal"))

    def test_several_listeners(self) -> None:
        """Without the option listener, all TLS listeners must have the same address."""
        error = self.assertRaises(BadBrokerData, node)
        self.assertIn("several TLS listeners: dns, external; set listener", str(error))
        urls = ["pulsar+ssl://broker-1.test:443", "pulsar+ssl://broker-1.test:6651"]
        same = {f"l-{n}": {"brokerServiceUrlTls": url} for n, url in enumerate(urls)}
        self.assertRaises(BadBrokerData, node, advertisedListeners=same)
        self.assertEqual("broker-1.test", node(BrokerListeners(port=6651), advertisedListeners=same).name)
        for names in (["l-0", "l-1"], ["l-1", "l-0"]):
            listeners = {name: same[name] for name in names}
            broker = node(BrokerListeners(port=6651), advertisedListeners=listeners)
            self.assertEqual("l-0", leads(broker)["broker-1.test"][0])
        del same["l-1"]
        self.assertEqual(443, node(advertisedListeners=same).port)

    def test_without_listeners(self) -> None:
        """Without listeners the service URL counts."""
        url = "pulsar+ssl://broker-1.test:6651"
        nothing: tuple[Any, ...] = ({}, None)
        for none in nothing:
            self.assertEqual("broker-1.test", node(advertisedListeners=none, pulsarServiceUrlTls=url).name)
        self.assertRaises(BadBrokerData, node, advertisedListeners={})

    def test_bad(self) -> None:
        """An invalid node is an error."""
        for said in (b"", b"[]", b'{"advertisedListeners": 1}', b'{"pulsarServiceUrlTls": "x"}'):
            self.assertRaises(BadBrokerData, from_node, ID, said, BrokerListeners())
        self.assertRaises(BadBrokerData, from_node, "a\nb", b"{}", BrokerListeners())


class HostsTests(SynchronousTestCase):
    """Hosts that are dialled at another address."""

    def test_pairs(self) -> None:
        """Names are normalised."""
        self.assertEqual({"a.test": "10.0.0.1", "b": "c"}, parse_host_map(["A.test. = 10.0.0.1", "b=c"]))

    def test_bad(self) -> None:
        """The error for another text has the cure."""
        bad: Callable[..., Any] = parse_host_map
        for pair in ("a.test", "=a", "a=", "a=b=c"):
            error = self.assertRaises(ValueError, bad, [pair])
            self.assertIn("write host=address, as in", str(error))
