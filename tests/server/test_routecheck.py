"""Tests for sniproxy.server.routecheck."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.net.veto import LoopGuard
from sniproxy.server import routecheck
from sniproxy.server.build import build_routing
from sniproxy.server.routecheck import RouteCheck

PUBLIC = ("broker-1.test", "broker-2.test")
ADMIN = ("broker-1.test", "broker-7.test")
NOBODY = "broker-9.test is advertised, but no route has it: TLS clients will be refused"
ELSEWHERE = "{} is advertised, but no route on listener {} has it: TLS clients will be refused there"


def listener(name: str, more: str = "") -> str:
    return f'[[listener]]\nname = "{name}"\nendpoint = "tcp:0"\n{more}'


TLS = listener("public") + listener("admin")
TAP = listener("tap", 'plaintext = true\ntarget = "127.0.0.1:9"\n')
ROUTES = "".join(
    f'[[route]]\nlistener = "{where}"\nserver_name = "{name}"\ntarget = "127.0.0.1:9"\n'
    for where, names in (("public", PUBLIC), ("admin", ADMIN))
    for name in names
)
DEFAULT = '[default]\ntarget = "127.0.0.1:9"\n'


def made(text: str) -> RouteCheck:
    """A check with listeners on ports 1, 2 and so on of 127.0.0.1."""
    configuration = parse(text, "test.toml")
    ports = {one.name: ("127.0.0.1", port) for port, one in enumerate(configuration.listeners, 1)}
    return RouteCheck(configuration, build_routing(configuration, Clock()), ports)


def bridge(proxy: str | None) -> str:
    by = "" if proxy is None else f'proxy_service_url = "pulsar+ssl://{proxy}"\nproxy_protocol = "SNI"\n'
    service = 'service_url = "pulsar+ssl://vip.test:6651"\ntrust = "ca.pem"\n'
    return f'[[bridge]]\nname = "bridge"\nendpoint = "tcp:7000"\n{service}{by}'


class CrossCheckTests(SynchronousTestCase):
    """Advertised brokers, and the listeners that their clients use."""

    def test_ends_tls(self) -> None:
        """Clients of a listener that ends TLS return to it, so routes of another listener do not help."""
        for where, host in (("public", "broker-7.test"), ("admin", "broker-2.test")):
            check = made(TLS + ROUTES)
            self.assertIsNone(check.unrouted("broker-1.test", where))
            self.assertEqual(ELSEWHERE.format(host, where), check.unrouted(host, where))
            self.assertEqual(NOBODY, check.unrouted("broker-9.test", where))

    def test_plaintext(self) -> None:
        """Each broker that a plaintext listener sees needs a route on the listeners that have one of them."""
        check = made(TLS + TAP + ROUTES)
        self.assertIsNone(check.unrouted("broker-7.test", "tap"))
        self.assertEqual(NOBODY, check.unrouted("broker-9.test", "tap"))
        self.assertEqual(ELSEWHERE.format("broker-2.test", "admin"), check.unrouted("broker-2.test", "tap"))
        self.assertEqual(ELSEWHERE.format("broker-7.test", "public"), check.unrouted("broker-7.test", "tap"))
        self.assertIsNone(check.unrouted("broker-1.test", "tap"))

    def test_plaintext_beside_another_cluster(self) -> None:
        """A listener without a route to any broker of a cluster is not used by its clients."""
        check = made(TLS + listener("other") + TAP + ROUTES)
        self.assertIsNone(check.unrouted("broker-1.test", "tap"))
        self.assertEqual(ELSEWHERE.format("broker-2.test", "admin"), check.unrouted("broker-2.test", "tap"))

    def test_bridge(self) -> None:
        """Clients of a bridge use the listener that is its proxy, if it belongs to this proxy."""
        for proxy, missing in (
            ("127.0.0.1:1", "public"),
            ("localhost:1", "public"),
            ("127.0.0.1:2", None),
            ("127.0.0.2:1", None),
            ("127.0.0.1:4443", None),
            ("proxy.test:1", None),
            (None, None),
        ):
            said = made(TLS + bridge(proxy) + ROUTES).unrouted("broker-7.test", "bridge")
            self.assertEqual(None if missing is None else ELSEWHERE.format("broker-7.test", missing), said, proxy)

    def test_bridge_without_descriptors(self) -> None:
        """Unknown listeners of a bridge give no warning."""

        def denies(self: object, host: str, port: int) -> str:
            raise OSError(24, "Too many open files")

        self.patch(LoopGuard, "denies", denies)
        self.assertIsNone(made(TLS + bridge("127.0.0.1:1") + ROUTES).unrouted("broker-7.test", "bridge"))

    def test_default(self) -> None:
        """A default route matches all names, but no addresses."""
        check = made(TLS + TAP + ROUTES + DEFAULT)
        self.assertIsNone(check.unrouted("broker-9.test", "tap"))
        self.assertIsNone(check.unrouted("broker-7.test", "public"))
        self.assertIn("no route has it", str(check.unrouted("192.0.2.9", "tap")))

    def test_no_tls(self) -> None:
        """Without TLS listeners there are no warnings."""
        self.assertIsNone(made(TAP).unrouted("broker-9.test", "tap"))

    def test_once(self) -> None:
        """Each warning is given once; their number is bounded."""
        self.patch(routecheck, "MAX_WARNINGS", 2)
        check = made(TLS + ROUTES)
        hosts = ("broker-9.test", "broker-9.test", "broker-7.test", "broker-8.test")
        told = [check.unrouted(host, "public") for host in hosts]
        self.assertEqual([NOBODY, None, ELSEWHERE.format("broker-7.test", "public"), None], told)
        self.assertEqual([one for one in told if one], check.warnings)
