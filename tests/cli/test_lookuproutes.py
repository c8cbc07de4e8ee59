"""Tests for sniproxy.cli.lookuproutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.lookuproutes import RouteComparison, named_brokers
from sniproxy.client.brokers import Link
from sniproxy.client.lookups import Hop
from sniproxy.client.scalable import Layout, Segment
from sniproxy.config.schema import ConfigError
from sniproxy.inspector.advertised import CONTROLLER, AdvertisedBroker
from sniproxy.pulsar.serviceurl import SniProxy
from tests.support.reactor import reactor

TEXT = "".join(
    f'[[listener]]\nname = "{name}"\nendpoint = "tcp:{port}"\n[[route]]\nlistener = "{name}"\n'
    f'server_name = "{host}"\ntarget = "127.0.0.1:9"\n'
    for name, port, host in (("one", 1, "b1.test"), ("two", 2, "b2.test"))
)


def hop(**fields: Any) -> Hop:
    return Hop("t", "lookup", cast(Link, None), False, 0.0, **fields)


class ComparisonTests(SynchronousTestCase):
    """RouteComparison: the routes of a file."""

    def problems(self, found: Hop, port: int | None = None, text: str = TEXT) -> list[str]:
        file = Path(self.mktemp())
        file.write_text(text)
        proxy = None if port is None else SniProxy("proxy.test", port)
        return RouteComparison(str(file), proxy, reactor).problems(found)

    def test_listener(self) -> None:
        """A route is expected on the listener with the proxy's port, else on any listener."""
        answer = hop(url="pulsar+ssl://b2.test:6651")
        (problem,) = self.problems(answer, 1)
        self.assertEqual("b2.test is advertised, but no route on listener one has it", problem.partition(":")[0])
        for port in (2, 3, None):
            self.assertEqual([], self.problems(answer, port))
        (problem,) = self.problems(hop(url="pulsar+ssl://b9.test:6651"))
        self.assertIn("no route has it", problem)

    def test_layout(self) -> None:
        """The controller is compared by its plain URL, segments by their TLS URLs; each problem is one."""
        segments = tuple(Segment(at, f"s{at}", 0, 1, False, None, "pulsar+ssl://b9.test:1") for at in (1, 2))
        layout = Layout(1, segments, "pulsar://10.0.0.7:6650")
        address, name = self.problems(hop(layout=layout))
        self.assertIn("no server name for an address", address)
        self.assertIn("b9.test is advertised", name)

    def test_unusable(self) -> None:
        """A file that cannot be read, or has no listener for TLS clients, is an error."""
        self.assertRaises(ConfigError, RouteComparison, "/absent", None, reactor)
        plain = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "127.0.0.1:9"\n'
        self.assertIn("no listener for TLS", str(self.assertRaises(ConfigError, self.problems, hop(), None, plain)))
        file = Path(self.mktemp())
        file.write_bytes(b"\xff")
        self.assertIn("not UTF-8", str(self.assertRaises(ConfigError, RouteComparison, str(file), None, reactor)))

    def test_named_brokers(self) -> None:
        """Answers without a URL name no broker; a layout names its controller and the brokers of segments."""
        self.assertEqual([], named_brokers(hop(answer="connected")))
        layout = Layout(1, (Segment(1, "s", 0, 1, False, "p", "t"),), "c", "d")
        self.assertEqual(
            [AdvertisedBroker("c", "d", CONTROLLER), AdvertisedBroker("p", "t")], named_brokers(hop(layout=layout))
        )
