"""The output of `make geo-demo`."""

from __future__ import annotations

import io
import socket

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.demo.printer import TourPrinter
from tests.peers import geo, geo_demo
from tests.peers.case import PulsarTestCase


class DemoTests(PulsarTestCase):
    """With the two clusters of the tests."""

    def test_all_of_it(self) -> None:
        """It shows messages that cross before and after a restart of the proxy, and the names that brokers sent."""
        out = io.StringIO()
        demo = geo_demo.Demo(TourPrinter(out), geo.shared())
        self.addCleanup(demo.stop)
        demo.show()
        demo.what_next()
        said = out.getvalue()
        for text in ("west        a client reads", "east        a client reads", "SNI = broker-1.west.pulsar.test"):
            self.assertIn(text, said)
        self.assertIn("missing 0, before an earlier one of its key 0", said)
        self.assertIn(f"tail -f {demo.proxy.access_log}", said)


class TextTests(SynchronousTestCase):
    """Texts that need no cluster."""

    def test_command(self) -> None:
        """The command has an option for each field, except for false ones."""

        class StandIn:
            name = "west"

        told = {"proxyServiceUrl": "pulsar+ssl://p.test:4443", "proxyProtocol": "SNI", "brokerClientTlsEnabled": True}
        words = geo_demo.command(StandIn(), told).replace("\\\n", "").split()  # type: ignore[arg-type]
        wanted = (
            "pulsar-admin clusters create west --proxy-url pulsar+ssl://p.test:4443 --proxy-protocol SNI --tls-enable"
        )
        self.assertEqual(words, wanted.split())

    def test_busy(self) -> None:
        """A used port is found before anything starts."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.assertTrue(geo_demo.busy(taken.getsockname()[1]))
        self.assertFalse(geo_demo.busy(0))
