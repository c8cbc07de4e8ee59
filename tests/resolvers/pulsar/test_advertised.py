"""Tests for sniproxy.resolvers.pulsar.advertised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
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

# As Pulsar 4.0.7 writes them; all values are texts.
CONFIGURATION = {
    "advertisedListeners": "internal:pulsar://127.0.0.1:6650,external:pulsar+ssl://Broker-1.pulsar.test:443,"
    "dns:pulsar+ssl://broker-1.dns.test:443",
    "bindAddresses": "external:pulsar+ssl://0.0.0.0:6651,kafka:SASL_SSL://0.0.0.0:9093",
    "brokerServicePortTls": "Optional.empty",
    "advertisedAddress": "one.internal",
}
NODE = {
    "pulsarServiceUrl": "pulsar://one.internal:6650",
    "pulsarServiceUrlTls": None,
    "advertisedListeners": {
        "internal": {"brokerServiceUrl": "pulsar://127.0.0.1:6650", "brokerServiceUrlTls": None},
        "external": {"brokerServiceUrl": None, "brokerServiceUrlTls": "pulsar+ssl://broker-1.pulsar.test:443"},
        "dns": {"brokerServiceUrlTls": "pulsar+ssl://broker-1.dns.test:443"},
    },
}
ID = "one.internal:8080"

DATA = Path(__file__).parent / "brokerdata"
"""What real brokers reported, by version and load manager; the values of a configuration that nothing reads are left
out."""


def configured(choice: BrokerListeners = BrokerListeners(), **more: str | None) -> LiveBroker:  # noqa: B008
    return from_configuration(ID, json.dumps({**CONFIGURATION, **more}).encode(), choice)


def node(choice: BrokerListeners = BrokerListeners(), **more: Any) -> LiveBroker:  # noqa: B008
    return from_node(ID, json.dumps({**NODE, **more}).encode(), choice)


def place(broker: LiveBroker) -> tuple[str, str, int]:
    return broker.name, broker.host, broker.port


def leads(broker: LiveBroker) -> dict[str, tuple[str, int]]:
    """The listener and the dialled port of each name, the best claim first."""
    found: dict[str, tuple[str, int]] = {}
    for one in broker.all_names:
        found.setdefault(one.name.host, (one.name.listener, one.target.port))
    return found


def real(name: str) -> tuple[str, bytes, bytes]:
    """What a real broker reported: its id, its configuration and its node."""
    said = json.loads((DATA / f"{name}.json").read_text())
    return said["id"], json.dumps(said["configuration"]).encode(), json.dumps(said["node"]).encode()


REAL: list[tuple[str, dict[str, tuple[str, int]], dict[str, tuple[str, int]]]] = [
    ("5.0.1-short", {"broker-1.pulsar.test": ("external", 36651)}, {"broker-1.pulsar.test": ("external", 36651)}),
    (
        "5.0.1-extensible",
        {"broker-1.pulsar.test": ("external", 36651), "broker-1.int.test": ("dns", 36655)},
        {"broker-1.pulsar.test": ("external", 26443), "broker-1.int.test": ("dns", 26443)},
    ),
]
"""Where the names of L{DATA} lead, from a configuration and from a node."""


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


class NameTests(SynchronousTestCase):
    """All names of a broker, and the TLS port of each."""

    def test_configuration(self) -> None:
        """Each listener's name and the own address lead to the broker: to the listener's port, or the clients' one."""
        broker = configured(bindAddresses="external:pulsar+ssl://0.0.0.0:6651,dns:pulsar+ssl://0.0.0.0:6661")
        expected = {
            "broker-1.pulsar.test": ("external", 6651),
            "broker-1.dns.test": ("dns", 6661),
            "127.0.0.1": ("internal", 6651),
            "one.internal": ("", 6651),
        }
        self.assertEqual(expected, leads(broker))
        self.assertEqual({"one.internal"}, {one.target.host for one in broker.all_names})
        self.assertEqual({1}, {port for _, port in leads(configured(BrokerListeners(port=1))).values()})

    def test_node(self) -> None:
        """The same from a node, with advertised ports."""
        expected = {
            "broker-1.pulsar.test": ("external", 443),
            "broker-1.dns.test": ("dns", 443),
            "127.0.0.1": ("internal", 443),
            "one.internal": ("", 443),
        }
        self.assertEqual(expected, leads(node(BrokerListeners("external"))))

    def test_derived(self) -> None:
        """Pulsar 5 derives the internal listener from the broker's own address and ports."""
        broker = configured(
            advertisedListeners="external:pulsar+ssl://broker-1.pulsar.test:443",
            internalListenerName="internal",
            brokerServicePort="Optional[6650]",
            brokerServicePortTls="Optional[6661]",
            advertisedAddress=" ONE.int.test. ",
        )
        self.assertEqual(
            {"broker-1.pulsar.test": ("external", 6651), "one.int.test": ("internal", 6661)}, leads(broker)
        )
        self.assertEqual(
            {("broker-1.pulsar.test", 443), ("one.int.test", 6650), ("one.int.test", 6661)}, set(broker.places)
        )
        short = "external:pulsar+ssl://broker-1.pulsar.test:443"
        ports = {"internalListenerName": "internal", "brokerServicePortTls": "6661"}
        chosen = configured(BrokerListeners("internal"), advertisedListeners=short, **ports)
        self.assertEqual(("one.internal", "one.internal", 6661), place(chosen))

    def test_text(self) -> None:
        """Blanks, case and IPv6 addresses are read; other protocols are skipped with a note, HTTP without one."""
        broker = configured(
            advertisedListeners=" internal : PULSAR://[2001:DB8::1]:6650 ,, external: Pulsar+SSL://Broker-1.Pulsar.test."
            ",external:https://admin.test:8443,kafka:SASL_SSL://broker-1.kafka.test:9093",
            bindAddresses=" external : pulsar+ssl://[::]:6661 ",
            advertisedAddress="[::1]",
        )
        expected = {
            "broker-1.pulsar.test": ("external", 6661),
            "2001:db8::1": ("internal", 6661),
            "::1": ("", 6661),
        }
        self.assertEqual(expected, leads(broker))
        self.assertEqual((f"broker {ID}: listener 'kafka' skipped: scheme 'sasl_ssl' is not Pulsar's",), broker.notes)

    def test_skipped(self) -> None:
        """An invalid listener is skipped with a note if another one has TLS; an invalid own address, too."""
        broker = configured(
            advertisedListeners="bad,internal:pulsar://a b:1,external:pulsar+ssl://broker-1.test:443",
            advertisedAddress="a b",
        )
        self.assertEqual(("broker-1.test", "one.internal", 6651), place(broker))
        self.assertEqual(2, len([note for note in broker.notes if "bad" in note]), broker.notes)
        self.assertIn("one.internal", leads(broker))
        urls = {"brokerServiceUrlTls": "pulsar+ssl://broker-1.test:443", "brokerServiceUrl": "pulsar://a b:1"}
        self.assertEqual(1, len(node(advertisedListeners={"external": urls}).notes))
        self.assertRaises(BadBrokerData, configured, advertisedListeners="", advertisedAddress="a b")

    def test_classic_node(self) -> None:
        """The service URLs of a node count beside its listeners."""
        broker = node(
            advertisedListeners={"internal": {"brokerServiceUrl": "pulsar://one.internal:6650"}},
            pulsarServiceUrlTls="pulsar+ssl://one.internal:6661",
        )
        self.assertEqual({"one.internal": ("", 6661)}, leads(broker))
        self.assertEqual({("one.internal", 6650), ("one.internal", 6661)}, set(broker.places))

    def test_started(self) -> None:
        """A node has the time when the broker started; anything else counts as unknown."""
        choice = BrokerListeners("external")
        times = [node(choice, startTimestamp=value).started for value in (5, 0, -1, "5", True, None)]
        self.assertEqual([5, 0, 0, 0, 0, 0], times)

    def test_real(self) -> None:
        """Names, ports and listeners of real brokers are read from both sources."""
        for name, configuration, nodes in REAL:
            with self.subTest(name):
                web_id, body, data = real(name)
                choice = BrokerListeners("external")
                self.assertEqual(configuration, leads(from_configuration(web_id, body, choice)))
                self.assertEqual(nodes, leads(from_node(web_id, data, choice)))
                bound, advertised = from_configuration(web_id, body, choice), from_node(web_id, data, choice)
                self.assertEqual(bound.places, advertised.places)
                self.assertEqual({one.name for one in bound.all_names}, {one.name for one in advertised.all_names})


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
