"""Tests for sniproxy.routing.router."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Refusal, Result
from sniproxy.resolvers.static import StaticResolver
from sniproxy.routing.router import LiveRoute, Routing
from sniproxy.routing.table import RouteTable
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader
from tests.support.hellos import hello

RESOLVER = StaticResolver(["127.0.0.1:6651"])


def live(name: str, listener: str | None = None) -> LiveRoute:
    return LiveRoute(name, listener, RESOLVER)


def routing(routes: Sequence[LiveRoute], default: bool = False, no_server_name: bool = False) -> Routing:
    return Routing(
        RouteTable(routes),
        live("default") if default else None,
        live("no_server_name") if no_server_name else None,
        {},
    )


def read(name: str | None, tls13: bool = True) -> ClientHello:
    found = ClientHelloReader().feed(hello(name) if tls13 else hello(name, extensions=()))
    assert found is not None
    return found


class ChoiceTests(SynchronousTestCase):
    """Routing.choose: the route of a hello."""

    def refused(self, routes: Routing, name: str | None, tls13: bool = True) -> tuple[Result, Alert | None, str]:
        error = self.assertRaises(Refusal, routes.choose, read(name, tls13), "public")
        return error.result, error.alert, str(error)

    def test_choose(self) -> None:
        """A name takes its route, else the default; a hello without a name takes [no_server_name]."""
        routes = routing([live("a.test")], default=True, no_server_name=True)
        for name, expected in (("A.test", "a.test"), ("b.test", "default"), (None, "no_server_name")):
            self.assertEqual(expected, routes.choose(read(name), "public").server_name)

    def test_no_name_on_a_listener(self) -> None:
        """A listener's own route without a pattern precedes [no_server_name]; no name matches it."""
        routes = routing([live("", "public"), live("a.test")], no_server_name=True)
        found = routes.choose(read(None), "public")
        self.assertEqual(("", "public"), (found.server_name, found.listener))
        self.assertEqual("no_server_name", routes.choose(read(None), "inner").server_name)
        self.assertEqual(Result.NO_ROUTE, self.refused(routes, "b.test")[0])

    def test_no_name(self) -> None:
        """A hello without a name gets the alert of its TLS version; the reason has the causes and fits a record."""
        routes = routing([live("a.test")], default=True)
        for tls13, alert in ((True, Alert.MISSING_EXTENSION), (False, Alert.HANDSHAKE_FAILURE)):
            result, sent, why = self.refused(routes, None, tls13)
            self.assertEqual((Result.NO_SERVER_NAME, alert), (result, sent))
            for part in ("[no_server_name]", "names without a dot", "IP addresses", "internal listeners"):
                self.assertIn(part, why)
            self.assertLess(len(why), 300)

    def test_ip_literal(self) -> None:
        """An IP literal never takes the default."""
        result, alert, why = self.refused(routing([], default=True), "10.0.0.7")
        self.assertEqual((Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME), (result, alert))
        self.assertIn("use a service URL with a host name", why)

    def test_why_none(self) -> None:
        """The reason suggests the intended name."""
        routes = routing([live("broker-1.a.test"), live("*.w.test"), live("own.test", "other")])
        for name, part in (
            ("far.example", "no route has this name"),
            ("own.test", "on listener public; another listener has one"),
            ("w.test", "*.w.test matches names below it, not the name itself"),
            ("broker-2.a.test", "the closest is broker-1.a.test"),
        ):
            self.assertIn(part, self.refused(routes, name)[2])
