"""Tests for sniproxy.routing.table."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.table import RouteTable
from sniproxy.util.names import ip_literal


@attrs.frozen
class Named:
    """The attributes that the table needs of a route."""

    server_name: str
    listener: str | None = None


def table(*patterns: str) -> RouteTable[Named]:
    """Routes for all listeners."""
    return RouteTable(map(Named, patterns))


class ChooseTests(SynchronousTestCase):
    """RouteTable.choose: the default route, and RouteTable.why_none: the reason for no route."""

    def test_default(self) -> None:
        """The default route takes names without a route, but no IP literal."""
        routes, default = table("a.test"), Named("default")
        for name, expected in (("a.test", "a.test"), ("b.test", "default"), ("10.0.0.7", None)):
            found = routes.choose(name, "public", default)
            self.assertEqual(expected, found and found.server_name)

    def test_nameless(self) -> None:
        """A route without a name is for hellos without one, on its listener; it matches no name, and is no hint."""
        own = Named("", "public")
        routes = RouteTable([own, Named("a.test")])
        self.assertEqual([own, None], [routes.nameless(listener) for listener in ("public", "inner")])
        self.assertIsNone(routes.choose("b.test", "public", None))
        self.assertEqual("no route has this name", routes.why_none("zz", "public"))

    def test_no_route_on_a_listener(self) -> None:
        """The reason names the closest route, if any is close."""
        routes = table("broker-1.a.test", "~x+")
        self.assertIn("the closest is broker-1.a.test", routes.why_none("broker-2.a.test", "public"))
        self.assertEqual("no route has this name", routes.why_none("else.b.test", "public"))

    def test_why_none(self) -> None:
        """The reason names another listener's route, the wildcard below the name, or an IP literal."""
        routes = RouteTable([Named("a.test", "inner"), Named("*.b.test")])
        for name, reason in (
            ("a.test", "another listener has one"),
            ("b.test", "*.b.test matches names below it"),
            ("10.0.0.7", "is an IP literal"),
        ):
            self.assertIsNone(routes.choose(name, "public", None))
            self.assertIn(reason, routes.why_none(name, "public"))


class RoutesTests(SynchronousTestCase):
    """RouteTable.routes: all routes."""

    def test_all(self) -> None:
        """Routes of each kind and listener are among them, each once."""
        routes = [Named("a.test"), Named("a.test", "inner"), Named("*.b.test"), Named("~c", "inner"), Named("~c")]
        self.assertEqual(sorted(routes, key=repr), sorted(RouteTable(routes).routes(), key=repr))


class MatchTests(SynchronousTestCase):
    """RouteTable.match: the route of a name."""

    def matched(self, routes: RouteTable[Named], name: str, listener: str = "public") -> str | None:
        found = routes.match(name, listener)
        return None if found is None else found.server_name

    def test_exact(self) -> None:
        """An exact route matches only its name."""
        routes = table("a.test")
        self.assertEqual(self.matched(routes, "a.test"), "a.test")
        for name in ("b.test", "x.a.test", "test", "a.tes", "a.test2"):
            self.assertIsNone(self.matched(routes, name))

    def test_wildcard(self) -> None:
        """A wildcard matches names at any depth below a name, not the name itself, nor names with the same ending."""
        routes = table("*.w.test")
        for name in ("a.w.test", "b.a.w.test", "d.c.b.a.w.test"):
            self.assertEqual(self.matched(routes, name), "*.w.test")
        for name in ("w.test", "aw.test", "test", "w.test.a", "a.w.testx"):
            self.assertIsNone(self.matched(routes, name))

    def test_precedence(self) -> None:
        """An exact name precedes the longest wildcard, for any order of the routes."""
        patterns = ["*.test", "*.eu.test", "a.eu.test", "*.a.eu.test"]
        for routes in (table(*patterns), table(*reversed(patterns))):
            self.assertEqual(self.matched(routes, "a.eu.test"), "a.eu.test")
            self.assertEqual(self.matched(routes, "b.eu.test"), "*.eu.test")
            self.assertEqual(self.matched(routes, "b.a.eu.test"), "*.a.eu.test")
            self.assertEqual(self.matched(routes, "eu.test"), "*.test")

    def test_ip_literals(self) -> None:
        """An IP literal matches only an exact route."""
        routes = table("*.0.0.1", "*.1", "10.0.0.7", "2001:db8::7")
        self.assertEqual(self.matched(routes, "10.0.0.7"), "10.0.0.7")
        self.assertEqual(self.matched(routes, "2001:db8::7"), "2001:db8::7")
        self.assertIsNone(self.matched(routes, "127.0.0.1"))
        self.assertEqual(self.matched(routes, "x.0.0.1"), "*.0.0.1")

    def test_listener(self) -> None:
        """Among routes with the same pattern, the one for the listener precedes the general one."""
        own, common = Named("a.test", "inner"), Named("a.test")
        routes = RouteTable([own, common])
        self.assertIs(routes.match("a.test", "inner"), own)
        self.assertIs(routes.match("a.test", "public"), common)

    def test_other_listener(self) -> None:
        """A route for another listener is ignored: a wildcard or nothing matches."""
        routes = RouteTable([Named("a.test", "inner"), Named("*.w.test", "inner"), Named("*.test")])
        self.assertEqual(self.matched(routes, "a.test"), "*.test")
        self.assertEqual(self.matched(routes, "b.w.test"), "*.test")
        self.assertEqual(self.matched(routes, "b.w.test", "inner"), "*.w.test")
        self.assertIsNone(self.matched(RouteTable([Named("a.test", "inner")]), "a.test"))

    def test_pattern_before_listener(self) -> None:
        """A better general pattern precedes a worse one for the listener."""
        routes = RouteTable([Named("a.test"), Named("*.test", "inner"), Named("*.b.test")])
        self.assertEqual(self.matched(routes, "a.test", "inner"), "a.test")
        self.assertEqual(self.matched(routes, "x.b.test", "inner"), "*.b.test")

    def test_expressions(self) -> None:
        """An expression matches whole names without regard to case, and no IP literal."""
        routes = table(r"~broker-([0-9]+)\.TEST", "~.*1")
        self.assertEqual(self.matched(routes, "broker-7.test"), r"~broker-([0-9]+)\.TEST")
        for name in ("broker-7.test.x", "xbroker-7.test", "broker-.test", "127.0.0.1"):
            self.assertIsNone(self.matched(routes, name))

    def test_expressions_in_order(self) -> None:
        """Exact names and wildcards go before expressions, which go in their order; one for this listener goes before
        the same one for all, and one for another listener is not there."""
        patterns = ["~.*", "~a.*", "*.w.test", "a.test"]
        routes = table(*patterns)
        self.assertEqual(["a.test", "*.w.test"], [self.matched(routes, name) for name in ("a.test", "a.w.test")])
        self.assertEqual(["~.*", "~a.*"], [self.matched(table(*p), "ab.test") for p in (patterns[:2], patterns[1::-1])])
        own, common, other = Named("~a.*", "inner"), Named("~a.*"), Named("~.*", "other")
        routes = RouteTable([other, common, own])
        self.assertIs(routes.match("a.test", "inner"), own)
        self.assertIs(routes.match("a.test", "public"), common)
        self.assertIs(routes.match("a.test", "other"), other)

    def test_many(self) -> None:
        """A match looks up the name and its parents, for any number of routes."""
        looked_up = []

        class Counting(dict[tuple[str, str | None], Named]):
            def get(self, key: object, default: object = None) -> Any:
                looked_up.append(key)
                return super().get(key, default)  # type: ignore[call-overload]

        routes = table(*(f"broker-{number}.pulsar.test" for number in range(1000)), "*.other.test")
        routes._exact, routes._wildcards = Counting(routes._exact), Counting(routes._wildcards)
        self.assertEqual(self.matched(routes, "broker-999.pulsar.test"), "broker-999.pulsar.test")
        self.assertIsNone(self.matched(routes, "nobody.pulsar.test"))
        self.assertEqual(8, len(looked_up))

    def test_empty(self) -> None:
        """An empty table has no route and no suggestion."""
        self.assertIsNone(self.matched(table(), "a.test"))
        self.assertIsNone(table().closest("a.test"))


LABELS = st.sampled_from(["a", "b", "c", "1"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
LISTENERS = st.sampled_from(["x", "y"])
ROUTES = st.lists(
    st.builds(Named, NAMES | NAMES.map("*.{}".format), st.none() | LISTENERS),
    max_size=12,
    unique_by=lambda r: (r.server_name, r.listener),
)


def naive(routes: list[Named], name: str, listener: str) -> Named | None:
    """The rules, applied to each route in turn."""
    exact, below = [], []
    for route in routes:
        if route.listener not in (None, listener):
            continue
        if route.server_name == name:
            exact.append(route)
        elif route.server_name.startswith("*.") and name.endswith(route.server_name[1:]) and ip_literal(name) is None:
            below.append(route)
    best = exact or [route for route in below if len(route.server_name) == max(len(r.server_name) for r in below)]
    return min(best, key=lambda route: route.listener is None, default=None)


class NaiveTests(SynchronousTestCase):
    """The table, compared with a simple implementation."""

    @settings(max_examples=300)
    @given(ROUTES, NAMES, LISTENERS)
    def test_same(self, routes: list[Named], name: str, listener: str) -> None:
        """Both find the same route for any routes."""
        self.assertEqual(RouteTable(routes).match(name, listener), naive(routes, name, listener))


class ClosestTests(SynchronousTestCase):
    """RouteTable.closest: the route that was probably intended."""

    def test_typo(self) -> None:
        """A typing error in any label."""
        routes = table("broker-1.pulsar.test", "broker-2.pulsar.test", "proxy.other.test")
        self.assertEqual(routes.closest("broker-l.pulsar.test"), "broker-1.pulsar.test")
        self.assertEqual(routes.closest("broker-2.pulser.test"), "broker-2.pulsar.test")

    def test_apex(self) -> None:
        """For the name below which a wildcard matches, the wildcard is suggested."""
        self.assertEqual(table("*.w.test", "v.test").closest("w.test"), "*.w.test")
        self.assertEqual(table("*.example.test", "examp1e.test").closest("example.test"), "*.example.test")

    def test_nothing_near(self) -> None:
        """A name that resembles no other gets no suggestion."""
        self.assertIsNone(table("broker-1.pulsar.test").closest("www.example.com"))
        self.assertIsNone(table("broker-1.pulsar.test").closest("something-else-altogether.pulsar.test"))
        self.assertIsNone(table("broker-1.pulsar.test").closest("zz.pulsar.test"))
        self.assertIsNone(table("x" * 60 + ".y.test").closest("x" * 59 + ".y" * 30 + ".test"))

    def test_bounded(self) -> None:
        """The number of compared routes is bounded, and a similar one among the first is found."""
        routes = table(*(f"broker-{number}.pulsar.test" for number in range(5000)))
        self.assertLessEqual(max(map(len, routes._near.values())), 32)
        self.assertEqual(routes.closest("broker-l0.pulsar.test"), "broker-10.pulsar.test")
