"""Tests for sniproxy.resolvers.pulsar.advertised: all names of a broker."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.pulsar.advertised import BadBrokerData, BrokerListeners, from_configuration, from_node
from tests.resolvers.pulsar.reports import ID, configured, leads, node, place

DATA = Path(__file__).parent / "brokerdata"
"""What real brokers reported, by version and load manager; the values of a configuration that nothing reads are left
out."""


def real(name: str) -> tuple[str, bytes, bytes]:
    """What a real broker reported: its id, its configuration and its node."""
    said = json.loads((DATA / f"{name}.json").read_text())
    return said["id"], json.dumps(said["configuration"]).encode(), json.dumps(said["node"]).encode()


OUTSIDE, INSIDE = "broker-1.pulsar.test", "broker-1.int.test"
PLAIN = {OUTSIDE: ("external", 36651), INSIDE: ("internal", 36651)}
PLAIN_NODE = {OUTSIDE: ("external", 26443), INSIDE: ("internal", 26443)}
REAL: list[tuple[str, dict[str, tuple[str, int]], dict[str, tuple[str, int]]]] = [
    ("4.0.7", PLAIN, PLAIN_NODE),
    ("4.2.4", {**PLAIN, "localhost": ("", 36651)}, {**PLAIN_NODE, "localhost": ("", 26443)}),
    ("4.2.4-extensible", PLAIN, PLAIN_NODE),
    ("5.0.1-short", {OUTSIDE: ("external", 36651)}, {OUTSIDE: ("external", 36651)}),
    (
        "5.0.1-extensible",
        {OUTSIDE: ("external", 36651), INSIDE: ("dns", 36655)},
        {OUTSIDE: ("external", 26443), INSIDE: ("dns", 26443)},
    ),
    (
        "5.0.1-internal-tls",
        {OUTSIDE: ("external", 16655), INSIDE: ("internal", 16651)},
        {OUTSIDE: ("external", 26443), INSIDE: ("internal", 16651)},
    ),
]
"""Where the names of L{DATA} lead, from a configuration and from a node."""


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

    def test_ports(self) -> None:
        """The first bound address of a listener counts. An own address beside an internal listener has no own port."""
        broker = configured(
            bindAddresses="external:pulsar+ssl://10.0.0.1:6651,external:pulsar+ssl://10.0.0.2:6652",
            internalListenerName="internal",
            brokerServicePortTls="6661",
        )
        self.assertEqual((("external", 6651), ("", 6651)), (leads(broker)[OUTSIDE], leads(broker)["one.internal"]))

    def test_hosts(self) -> None:
        """Each name may have an address of its own."""
        hosts = {"one.internal": "10.0.0.1", "broker-1.dns.test": "10.0.0.2"}
        found = {one.name.host: one.target.host for one in configured(BrokerListeners(hosts=hosts)).all_names}
        self.assertEqual(
            {OUTSIDE: "10.0.0.1", "broker-1.dns.test": "10.0.0.2", "127.0.0.1": "10.0.0.1", "one.internal": "10.0.0.1"},
            found,
        )

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
