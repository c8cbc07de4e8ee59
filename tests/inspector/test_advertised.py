"""Tests for sniproxy.inspector.advertised."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.advertised import (
    CONTROLLER,
    COORDINATOR,
    AdvertisedBroker,
    address_of,
    advertised_brokers,
)
from sniproxy.pulsar.events import Event, Fields

PLAIN, TLS = "pulsar://broker-1.test:6650", "pulsar+ssl://broker-1.test:6651"


def found(name: str, fields: Fields) -> list[AdvertisedBroker]:
    return advertised_brokers(Event(name, 1.0, "c", fields))


class AdvertisedBrokersTests(SynchronousTestCase):
    """advertised_brokers: the brokers in an event's fields."""

    def test_broker(self) -> None:
        """Both URLs are of one broker; a missing one is None."""
        self.assertEqual([AdvertisedBroker(PLAIN, TLS)], found("lookup", {"broker_url": PLAIN, "broker_url_tls": TLS}))
        self.assertEqual([AdvertisedBroker(PLAIN, None)], found("close", {"broker_url": PLAIN, "broker_url_tls": None}))
        self.assertEqual([AdvertisedBroker(None, TLS)], found("close", {"broker_url": "", "broker_url_tls": TLS}))

    def test_none(self) -> None:
        """Other fields name no broker, not even the destination that a client gives Pulsar's proxy."""
        fields: Fields = {"broker_url": None, "broker_url_tls": "", "proxy_to_broker_url": "a.test:6650", "x": [1, "y"]}
        self.assertEqual([], found("connect", fields))

    def test_scalable_topic(self) -> None:
        """The controller has its role; segments are brokers, each once."""
        at: Fields = {"segment_id": 1, "broker_url": PLAIN, "broker_url_tls": TLS}
        fields: Fields = {
            "segments": [at, {**at, "segment_id": 2}],
            "controller_broker_url": "pulsar://127.0.0.1:6650",
            "controller_broker_url_tls": None,
        }
        wanted = [AdvertisedBroker("pulsar://127.0.0.1:6650", None, CONTROLLER), AdvertisedBroker(PLAIN, TLS)]
        self.assertEqual(wanted, found("scalable_topic", fields))

    def test_coordinators(self) -> None:
        """Brokers of a coordinators event are transaction coordinators."""
        fields: Fields = {"assignments": [{"tc_id": 0, "broker_url": PLAIN, "broker_url_tls": None}]}
        self.assertEqual([AdvertisedBroker(PLAIN, None, COORDINATOR)], found("coordinators", fields))


class AddressOfTests(SynchronousTestCase):
    """address_of: host and port of a URL."""

    def test_address(self) -> None:
        """Names are normalised, and the scheme gives a missing port; any host of a peer is kept."""
        for url, wanted in (
            ("pulsar://Broker-1.test.:6650", ("broker-1.test", 6650)),
            ("pulsar+ssl://broker-1.test", ("broker-1.test", 6651)),
            ("pulsar://broker-1.test", ("broker-1.test", 6650)),
            ("pulsar://[2001:db8:0::7]:6650", ("2001:db8::7", 6650)),
            ("pulsar://bröker:6650", ("bröker", 6650)),
        ):
            self.assertEqual(wanted, address_of(url), url)

    def test_none(self) -> None:
        """Without a host, or with a port that is none, there is no address."""
        for url in (None, "", "pulsar://", "pulsar://:6650", "broker-1.test:6650", "pulsar://a:b", "pulsar://[::1"):
            self.assertIsNone(address_of(url), url)
