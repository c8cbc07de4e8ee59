"""Tests for sniproxy.server.routecheck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.inspector.advertised import CONTROLLER, COORDINATOR, AdvertisedBroker
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.brokernames import BrokerName
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


def made(text: str, names: Mapping[tuple[str, int], Sequence[BrokerName]] | None = None) -> RouteCheck:
    """A check with listeners on ports 1, 2 and so on of 127.0.0.1. C{names}: what a resolver knows, by address."""
    configuration = parse(text, "test.toml")
    ports = {one.name: ("127.0.0.1", port) for port, one in enumerate(configuration.listeners, 1)}
    known = names or {}
    routing = build_routing(configuration, Clock())
    return RouteCheck(configuration, routing, ports, lambda host, port: known.get((host, port), ()))


def by_tls(host: str) -> AdvertisedBroker:
    """A broker with both URLs."""
    return AdvertisedBroker(f"pulsar://{host}:6650", f"pulsar+ssl://{host}:6651")


def controller(host: str, role: str = CONTROLLER) -> AdvertisedBroker:
    """A controller of a scalable topic: it has no TLS URL."""
    return AdvertisedBroker(f"pulsar://{host}:6650", None, role)


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
            self.assertIsNone(check.unrouted(by_tls("broker-1.test"), where))
            self.assertEqual(ELSEWHERE.format(host, where), check.unrouted(by_tls(host), where))
            self.assertEqual(NOBODY, check.unrouted(by_tls("broker-9.test"), where))

    def test_plaintext(self) -> None:
        """Each broker that a plaintext listener sees needs a route on the listeners that have one of them."""
        check = made(TLS + TAP + ROUTES)
        self.assertIsNone(check.unrouted(by_tls("broker-7.test"), "tap"))
        self.assertEqual(NOBODY, check.unrouted(by_tls("broker-9.test"), "tap"))
        self.assertEqual(ELSEWHERE.format("broker-2.test", "admin"), check.unrouted(by_tls("broker-2.test"), "tap"))
        self.assertEqual(ELSEWHERE.format("broker-7.test", "public"), check.unrouted(by_tls("broker-7.test"), "tap"))
        self.assertIsNone(check.unrouted(by_tls("broker-1.test"), "tap"))

    def test_plaintext_beside_another_cluster(self) -> None:
        """A listener without a route to any broker of a cluster is not used by its clients."""
        check = made(TLS + listener("other") + TAP + ROUTES)
        self.assertIsNone(check.unrouted(by_tls("broker-1.test"), "tap"))
        self.assertEqual(ELSEWHERE.format("broker-2.test", "admin"), check.unrouted(by_tls("broker-2.test"), "tap"))

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
            said = made(TLS + bridge(proxy) + ROUTES).unrouted(by_tls("broker-7.test"), "bridge")
            self.assertEqual(None if missing is None else ELSEWHERE.format("broker-7.test", missing), said, proxy)

    def test_bridge_without_descriptors(self) -> None:
        """Unknown listeners of a bridge give no warning."""

        def denies(self: object, host: str, port: int) -> str:
            raise OSError(24, "Too many open files")

        self.patch(LoopGuard, "denies", denies)
        self.assertIsNone(made(TLS + bridge("127.0.0.1:1") + ROUTES).unrouted(by_tls("broker-7.test"), "bridge"))

    def test_default(self) -> None:
        """A default route matches all names, but no addresses."""
        check = made(TLS + TAP + ROUTES + DEFAULT)
        self.assertIsNone(check.unrouted(by_tls("broker-9.test"), "tap"))
        self.assertIsNone(check.unrouted(by_tls("broker-7.test"), "public"))
        why = str(check.unrouted(by_tls("192.0.2.9"), "tap"))
        self.assertIn(
            "no route has it: TLS clients will be refused; most clients send no server name for an address", why
        )

    def test_no_tls(self) -> None:
        """Without TLS listeners there are no warnings."""
        self.assertIsNone(made(TAP).unrouted(by_tls("broker-9.test"), "tap"))

    def test_once(self) -> None:
        """Each warning is given once; their number is bounded."""
        self.patch(routecheck, "MAX_WARNINGS", 2)
        check = made(TLS + ROUTES)
        hosts = ("broker-9.test", "broker-9.test", "broker-7.test", "broker-8.test")
        told = [check.unrouted(by_tls(host), "public") for host in hosts]
        self.assertEqual([NOBODY, None, ELSEWHERE.format("broker-7.test", "public"), None], told)
        self.assertEqual([one for one in told if one], check.warnings)


class ControllerTests(SynchronousTestCase):
    """Controllers of scalable topics and transaction coordinators, which have a plain URL."""

    def test_routed(self) -> None:
        """Its host needs a route on the listener that the client came by, and the certificate must name it."""
        for role in (CONTROLLER, COORDINATOR):
            check = made(TLS + ROUTES)
            self.assertIsNone(check.unrouted(controller("broker-1.test", role), "public"))
            why = str(check.unrouted(controller("broker-7.test", role), "public"))
            self.assertTrue(
                why.startswith(f"broker-7.test is advertised as {role}, but no route on listener public"), why
            )
            self.assertTrue(why.endswith("its certificate must name it, too"), why)

    def test_address(self) -> None:
        """No route can lead to an address, not even one with a route of its own; the cure is a name."""
        route = '[[route]]\nserver_name = "127.0.0.1"\ntarget = "127.0.0.1:9"\n'
        for host in ("127.0.0.1", "[2001:db8::7]"):
            why = str(made(TLS + ROUTES + route + DEFAULT).unrouted(controller(host), "public"))
            self.assertIn(f"{host.strip('[]')} is advertised as {CONTROLLER}", why)
            self.assertIn("no server name for an address, so no route can lead there", why)
            self.assertIn("advertisedAddress", why)

    def test_without_dot(self) -> None:
        """Java clients send no server name for a name without a dot; the bridge does."""
        text = TLS + bridge("127.0.0.1:1") + '[[route]]\nserver_name = "broker-1"\ntarget = "127.0.0.1:9"\n'
        why = str(made(text).unrouted(controller("broker-1"), "public"))
        self.assertIn("no server name for a name without a dot", why)
        self.assertIsNone(made(text).unrouted(controller("broker-1"), "bridge"))

    def test_no_server_name(self) -> None:
        """A route for hellos without a name leads to the only broker, but not to one of several."""
        for targets, refused in (('"127.0.0.1:9"', False), ('["127.0.0.1:8", "127.0.0.1:9"]', True)):
            own = '[[route]]\nserver_name = ""\nlistener = "public"\n'
            for table in ("[no_server_name]\n", own):
                check = made(TLS + ROUTES + f"{table}target = {targets}\n")
                self.assertEqual(refused, check.unrouted(controller("127.0.0.1"), "public") is not None, targets)

    def test_bridge(self) -> None:
        """A bridge dials the controller through its proxy; the routes of another machine's proxy are unknown."""
        for proxy, wanted in (("127.0.0.1:1", True), ("proxy.test:1", False), (None, False)):
            for host in ("127.0.0.1", "broker-9.test"):
                why = made(TLS + bridge(proxy) + ROUTES).unrouted(controller(host), "bridge")
                self.assertEqual(wanted, why is not None, (proxy, host))

    def test_plaintext(self) -> None:
        """Clients of a plaintext listener dial the controller without the proxy."""
        self.assertIsNone(made(TLS + TAP + ROUTES).unrouted(controller("127.0.0.1"), "tap"))

    def test_owner(self) -> None:
        """Clients that came by TLS use no plain URL but a controller's."""
        check = made(TLS + ROUTES)
        self.assertIsNone(check.unrouted(AdvertisedBroker("pulsar://broker-9.test:6650", None), "public"))
        self.assertIsNone(check.unrouted(AdvertisedBroker(None, "pulsar+ssl://"), "public"))


class KnownNamesTests(SynchronousTestCase):
    """Plain URLs of a plaintext listener, and the names that a resolver knows."""

    PLAIN = AdvertisedBroker("pulsar://127.0.0.1:6660", None)

    def why(self, *names: BrokerName) -> str | None:
        return made(TLS + TAP + ROUTES, {("127.0.0.1", 6660): names}).unrouted(self.PLAIN, "tap")

    def test_unknown(self) -> None:
        """Nothing is said of a broker that no resolver knows, or that has no TLS listener."""
        self.assertIsNone(self.why())
        self.assertIsNone(self.why(BrokerName("broker-9.test", "internal", False)))
        self.assertIsNone(made(TLS + TAP + ROUTES).unrouted(self.PLAIN, "tap"))

    def test_unrouted(self) -> None:
        """A broker without a route for its TLS name is reported, with the listener that has the name."""
        why = self.why(BrokerName("127.0.0.1", "tap", False), BrokerName("broker-9.test", "external", True))
        self.assertEqual(NOBODY.replace("is advertised", "is advertised by listener external"), why)
        self.assertEqual(NOBODY, self.why(BrokerName("broker-9.test", "", True)))

    def test_one_of_several(self) -> None:
        """One routed TLS name suffices: other listeners may be for clients that do not use this proxy."""
        names = BrokerName("broker-9.test", "corp", True), BrokerName("broker-1.test", "external", True)
        self.assertIsNone(self.why(*names))
        why = str(self.why(names[0], BrokerName("broker-8.test", "external", True)))
        self.assertIn("broker-9.test is advertised by listener corp", why)
