"""Tests for sniproxy.resolvers.http.answer."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.resolvers.http.answer import (
    MAX_TARGETS,
    MAX_TTL_S,
    BadAnswer,
    FoundTargets,
    TargetPaths,
    extract_targets,
    parse_json,
    parse_native,
    parse_path,
    parse_refusal,
)
from tests.resolvers.http.answers import CONSUL, SLICES

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["targets", "host", "port", "weight", "ttl", "reason", "items"]), inner)
    ),
)


class NativeTests(SynchronousTestCase):
    """Our own form."""

    def why_not(self, document: Any) -> str:
        why = str(self.assertRaises(BadAnswer, parse_native, document))
        self.assertTrue(why.isprintable() and len(why) < 400, why)
        return why

    def test_targets(self) -> None:
        """Targets are texts or objects with defaults; duplicates are removed."""
        targets = [
            "a.test:1",
            "[2001:db8::1]:2",
            {"host": "b.test", "port": 3, "weight": 0, "note": "let pass"},
            {"host": "2001:db8::2"},
            "a.test:1",
        ]
        wanted = (Target("a.test", 1), Target("2001:db8::1", 2), Target("b.test", 3, 0), Target("2001:db8::2", 6651))
        self.assertEqual(FoundTargets(wanted), parse_native({"targets": targets}))

    def test_none(self) -> None:
        """An empty list refuses the name, with the answer's reason and ttl."""
        self.assertEqual(FoundTargets((), 2.5, "gone"), parse_native({"targets": [], "ttl": 2.5, "reason": " gone\n"}))
        self.assertEqual(FoundTargets(), parse_native({"targets": [], "reason": ["x"]}))

    def test_ttl(self) -> None:
        """A ttl is a number of seconds, a day at most; anything else is an error."""
        for ttl, wanted in ((0, 0.0), (7, 7.0), (10**400, MAX_TTL_S), (None, None)):
            self.assertEqual(wanted, parse_native({"targets": ["a.test"], "ttl": ttl}).ttl)
        for bad in (-1, True, "7", float("inf"), [1]):
            self.assertIn('"ttl"', self.why_not({"targets": ["a.test"], "ttl": bad}))

    def test_bad(self) -> None:
        """The error shows the invalid target, bounded."""
        for document, words in (
            ({}, 'no list "targets"'),
            ([], 'no list "targets"'),
            ({"targets": "a.test"}, 'no list "targets"'),
            ({"targets": [7]}, "not a text: 7"),
            ({"targets": [{"host": ["a"]}]}, "not a text: a list"),
            ({"targets": ["a\nb" * 500]}, "bad host"),
            ({"targets": ["a.test:0"]}, "bad port"),
            ({"targets": [{"host": "a.test:1"}]}, "invalid target"),
            ({"targets": [{"host": "a.test", "port": 65536}]}, "port 65536"),
            ({"targets": [{"host": "a.test", "port": "x"}]}, 'port "x"'),
            ({"targets": [{"host": "a.test", "port": True}]}, "not true"),
            ({"targets": [{"host": "a.test", "port": 1, "weight": -1}]}, "weight -1"),
            ({"targets": [{"host": "a.test", "port": 1, "weight": 0.5}]}, "weight 0.5"),
            ({"targets": ["a.test"] * (MAX_TARGETS + 1)}, "1001 targets"),
        ):
            self.assertIn(words, self.why_not(document))

    @given(ANYTHING)
    def test_anything(self, document: Any) -> None:
        """Any JSON is read or refused."""
        for read in (
            parse_native,
            lambda one: extract_targets(one, TargetPaths((("host",),), ("items",), ("port",), ("weight",)), []),
        ):
            try:
                found = read(parse_json(json.dumps(document).encode()))
            except BadAnswer as error:
                self.assertTrue(str(error).isprintable())
            else:
                self.assertTrue(all(isinstance(target, Target) for target in found.targets))


class ParseTests(SynchronousTestCase):
    """JSON."""

    def test_not_json(self) -> None:
        """A body that is not JSON, not an object or list, or nested too deeply, is refused."""
        for body in (b"", b"<html>", b"7", b'"a"', b"\xff", b"[NaN]", b"[" * 100_000, b"[" + b"9" * 9999 + b"]"):
            self.assertRaises(BadAnswer, parse_json, body)

    def test_nested(self) -> None:
        """Deep nesting is also refused while targets are extracted."""
        document: list[Any] = []
        for _ in range(10_000):
            document = [document]
        error = self.assertRaises(BadAnswer, extract_targets, document, TargetPaths((("a",),)), [])
        self.assertIn("nested", str(error))

    def test_refusal(self) -> None:
        """A 404 answer in our format has a reason and a ttl."""
        self.assertEqual(
            FoundTargets((), 60.0, "no such broker"), parse_refusal(b'{"reason": "no such broker", "ttl": 60}')
        )
        for body in (b"", b"not found", b"[]", b"{}", b'{"ttl": -1}'):
            self.assertEqual(FoundTargets(), parse_refusal(body))

    def test_path(self) -> None:
        """Keys with dots between them."""
        self.assertEqual(("Service", "Address"), parse_path("Service.Address"))
        for text in ("", ".", "a.", "a..b"):
            self.assertRaises(ValueError, parse_path, text)


class PickedTests(SynchronousTestCase):
    """Targets in another format."""

    def test_list(self) -> None:
        """A target for each item; of several host paths the first with a value counts."""
        hosts = (("Service", "Address"), ("Node", "Address"))
        places = TargetPaths(hosts, (), ("Service", "Port"), ("Service", "Weights", "Passing"))
        wanted = (Target("10.1.10.1", 6651, 10), Target("10.1.20.2", 6661, 1))
        self.assertEqual(FoundTargets(wanted), extract_targets(CONSUL, places, []))
        self.assertEqual(FoundTargets(), extract_targets([], places, []))

    def test_inner_lists(self) -> None:
        """Lists are flattened; of a list of hosts the first counts; items that do not match are ignored."""
        places = TargetPaths((("addresses",),), ("items", "endpoints"), 6651)
        ready = (("conditions", "ready"), "true")
        wanted = (Target("10.1.2.3", 6651), Target("10.1.2.5", 6651))
        self.assertEqual(FoundTargets(wanted), extract_targets(SLICES, places, [ready]))
        self.assertEqual(
            FoundTargets(wanted[1:]), extract_targets(SLICES, places, [ready, (("hostname",), "broker-2")])
        )
        self.assertEqual(FoundTargets(), extract_targets(SLICES, places, [ready, (("hostname",), "broker-1")]))

    def test_whole(self) -> None:
        """An object is the only item; the host's text may have the port."""
        pod = {"status": {"podIP": "10.1.2.3"}}
        self.assertEqual(
            FoundTargets((Target("10.1.2.3", 6651),)), extract_targets(pod, TargetPaths((("status", "podIP"),)), [])
        )
        pod = {"status": {"podIP": "10.1.2.3:7"}}
        self.assertEqual(
            FoundTargets((Target("10.1.2.3", 7),)), extract_targets(pod, TargetPaths((("status", "podIP"),)), [])
        )

    def test_base64(self) -> None:
        """A host in base64 is decoded; a port may be a text."""
        places = TargetPaths((("value",),), ("kvs",), in_base64=True)
        self.assertEqual(
            FoundTargets((Target("a.test", 7),)), extract_targets({"kvs": [{"value": "YS50ZXN0OjcK"}]}, places, [])
        )
        for bad in ("a.test:7", "/w==", 7):
            error = self.assertRaises(BadAnswer, extract_targets, {"kvs": [{"value": bad}]}, places, [])
            self.assertIn("base64", str(error))
        self.assertEqual(FoundTargets(), extract_targets({"header": {}}, places, []))
        found = extract_targets([{"h": "a.test", "p": "7"}], TargetPaths((("h",),), (), ("p",)), [])
        self.assertEqual(FoundTargets((Target("a.test", 7),)), found)

    def test_incomplete(self) -> None:
        """Items without a host are ignored if others have one; no host at all, or no port, is an error."""
        places = TargetPaths((("h",), ("i", "j")), (), ("p",))
        self.assertEqual(
            FoundTargets((Target("a.test", 7),)), extract_targets([{}, {"h": "a.test", "p": 7}], places, [])
        )
        for document, words in (([{}], "no host at h or i.j"), ([{"h": "a.test"}], "no port"), ([{"h": 7}], "no port")):
            self.assertIn(words, str(self.assertRaises(BadAnswer, extract_targets, document, places, [])))
