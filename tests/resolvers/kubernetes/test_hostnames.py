"""Tests for sniproxy.resolvers.kubernetes.hostnames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.hostnames import ANY, hostname, intersection, matches, specificity, wildcards

LABEL = st.sampled_from(["a", "b", "c"])
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
HOST = NAME | NAME.map(lambda name: f"*.{name}")


class HostnameTests(SynchronousTestCase):
    """Hostnames of listeners and routes."""

    def test_normal(self) -> None:
        """Hostnames are normalised; IP addresses and other texts are none."""
        self.assertEqual("*.example.com", hostname("*.Example.com"))
        for text in ("*", "a.*.test", "10.0.0.1", "a..b", "*.10.0.0.1"):
            self.assertIsNone(hostname(text), text)

    def test_intersection(self) -> None:
        """The cases of the Gateway API (TLSRouteHostnameIntersection)."""
        for listener, route, both in (
            ("abc.example.com", "*.example.com", "abc.example.com"),
            ("*.example.com", "abc.example.com", "abc.example.com"),
            ("*.example.com", "*.com", "*.example.com"),
            ("*.com", "abc.example.com", "abc.example.com"),
            ("*.com", "*.example.com", "*.example.com"),
            (None, "abc.example.com", "abc.example.com"),
            (None, "*.com", "*.com"),
            ("test.example.com", "test.example.com", "test.example.com"),
            ("*.example.com", "example.com", None),
            ("*.example.com", "test.example.net", None),
            ("www.example.com", "*.nomatch.com", None),
            ("*.example.com", "*.different.com", None),
            ("*.ample.com", "*.example.com", None),
        ):
            self.assertEqual(both, intersection(listener, route), f"{listener}, {route}")

    @given(HOST, HOST, NAME)
    def test_any(self, one: str, other: str, name: str) -> None:
        """The intersection stands for exactly the names of both, in either order."""
        both = intersection(one, other)
        self.assertEqual(both, intersection(other, one))
        self.assertEqual(matches(one, name) and matches(other, name), both is not None and matches(both, name))

    @given(HOST, NAME)
    def test_wildcards(self, host: str, name: str) -> None:
        """A name's wildcards are those that stand for it, the most specific one first."""
        self.assertEqual(host != name and matches(host, name), host in wildcards(name))
        self.assertEqual(specificity(None), specificity(ANY))
        order = [specificity(each) for each in (name, *wildcards(name), None)]
        self.assertEqual(sorted(order, reverse=True), order)
