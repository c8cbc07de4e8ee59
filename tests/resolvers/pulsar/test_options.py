"""Tests for sniproxy.resolvers.pulsar.options."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import BadOption
from sniproxy.resolvers.pulsar.advertised import BrokerListeners
from sniproxy.resolvers.pulsar.listeners import BINARY, HTTPS
from sniproxy.resolvers.pulsar.options import BROKER_OPTIONS, check_port, read_listeners, read_service_names

NOTHING: dict[str, Any] = {option.name: option.default for option in BROKER_OPTIONS}


class PlacesTests(SynchronousTestCase):
    """The options of all resolvers of live brokers."""

    def test_choice(self) -> None:
        """Without options the advertised data count."""
        self.assertEqual(BrokerListeners(), read_listeners(NOTHING))
        said = {**NOTHING, "listener": "external", "port": 1, "hosts": ["a=b"]}
        self.assertEqual(
            BrokerListeners("external", 1, {"a": "b"}, "{label}.test"), read_listeners(said, "{label}.test")
        )

    def test_protocol(self) -> None:
        """Names lead to the binary protocol or to the admin API."""
        self.assertIs(BINARY, read_listeners(NOTHING).protocol)
        self.assertIs(HTTPS, read_listeners({**NOTHING, "protocol": "https"}).protocol)

    def test_bad(self) -> None:
        """The error names the invalid option."""
        for key, value in {"port": 0, "hosts": ["a"], "protocol": "http", "service_name": ["*.test"]}.items():
            options = {**NOTHING, key: value}
            with self.assertRaises(BadOption) as raised:
                read_service_names(options)
                read_listeners(options)
            self.assertEqual((key, value), (raised.exception.key, raised.exception.value))
        for name in ("{hots}.test", ""):
            self.assertEqual("name", self.assertRaises(BadOption, read_listeners, NOTHING, name).key)

    def test_service_names(self) -> None:
        """Service names are normalised."""
        self.assertEqual(("vip.test",), read_service_names({"service_name": ["VIP.test."]}))

    def test_port(self) -> None:
        """A port is valid or not set."""
        check_port("port", None)
        check_port("port", 65535)
        self.assertRaises(BadOption, check_port, "port", 65536)
