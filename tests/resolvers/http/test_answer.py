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


class OwnTests(SynchronousTestCase):
    """Our own form."""

    def why_not(self, document: Any) -> str:
        why = str(self.assertRaises(BadAnswer, parse_native, document))
        self.assertTrue(why.isprintable() and len(why) < 400, why)
        return why

    def test_targets(self) -> None:
        """Texts and objects; what an object does not say has its default; the same twice is one."""
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
        """An empty list refuses, with the reason and for the time that the answer has."""
        self.assertEqual(FoundTargets((), 2.5, "gone"), parse_native({"targets": [], "ttl": 2.5, "reason": " gone\n"}))
        self.assertEqual(FoundTargets(), parse_native({"targets": [], "reason": ["x"]}))

    def test_ttl(self) -> None:
        """Seconds; more than a day is a day; what is no number of seconds makes the answer unreadable."""
        for ttl, wanted in ((0, 0.0), (7, 7.0), (10**400, MAX_TTL_S), (None, None)):
            self.assertEqual(wanted, parse_native({"targets": ["a.test"], "ttl": ttl}).ttl)
        for bad in (-1, True, "7", float("inf"), [1]):
            self.assertIn('"ttl"', self.why_not({"targets": ["a.test"], "ttl": bad}))

    def test_bad(self) -> None:
        """What is no target is shown, bounded."""
        for document, words in (
            ({}, 'no list "targets"'),
            ([], 'no list "targets"'),
            ({"targets": "a.test"}, 'no list "targets"'),
            ({"targets": [7]}, "no text: 7"),
            ({"targets": [{"host": ["a"]}]}, "no text: a list"),
            ({"targets": ["a\nb" * 500]}, "is no target: bad host"),
            ({"targets": ["a.test:0"]}, "bad port"),
            ({"targets": [{"host": "a.test:1"}]}, "is no target"),
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
        """Whatever JSON comes, it is read or it is unreadable."""
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
        """What is not JSON, no object or list, or nested without end, is unreadable."""
        for body in (b"", b"<html>", b"7", b'"a"', b"\xff", b"[NaN]", b"[" * 100_000, b"[" + b"9" * 9999 + b"]"):
            self.assertRaises(BadAnswer, parse_json, body)

    def test_nested(self) -> None:
        """What is nested without end is unreadable, too, when targets are looked for in it."""
        document: list[Any] = []
        for _ in range(10_000):
            document = [document]
        error = self.assertRaises(BadAnswer, extract_targets, document, TargetPaths((("a",),)), [])
        self.assertIn("nested", str(error))

    def test_refusal(self) -> None:
        """Of an answer that there is no such name, reason and time are read where they are in our form."""
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
    """Targets out of somebody else's form."""

    def test_list(self) -> None:
        """Each of a list; of several places for the host, the first that has a text."""
        hosts = (("Service", "Address"), ("Node", "Address"))
        places = TargetPaths(hosts, (), ("Service", "Port"), ("Service", "Weights", "Passing"))
        wanted = (Target("10.1.10.1", 6651, 10), Target("10.1.20.2", 6661, 1))
        self.assertEqual(FoundTargets(wanted), extract_targets(CONSUL, places, []))
        self.assertEqual(FoundTargets(), extract_targets([], places, []))

    def test_inner_lists(self) -> None:
        """Lists on the way are gone through; of a list of hosts, the first; those alone that are as they must be."""
        places = TargetPaths((("addresses",),), ("items", "endpoints"), 6651)
        ready = (("conditions", "ready"), "true")
        wanted = (Target("10.1.2.3", 6651), Target("10.1.2.5", 6651))
        self.assertEqual(FoundTargets(wanted), extract_targets(SLICES, places, [ready]))
        self.assertEqual(
            FoundTargets(wanted[1:]), extract_targets(SLICES, places, [ready, (("hostname",), "broker-2")])
        )
        self.assertEqual(FoundTargets(), extract_targets(SLICES, places, [ready, (("hostname",), "broker-1")]))

    def test_whole(self) -> None:
        """An object alone is the one item; the host's text may have the port."""
        pod = {"status": {"podIP": "10.1.2.3"}}
        self.assertEqual(
            FoundTargets((Target("10.1.2.3", 6651),)), extract_targets(pod, TargetPaths((("status", "podIP"),)), [])
        )
        pod = {"status": {"podIP": "10.1.2.3:7"}}
        self.assertEqual(
            FoundTargets((Target("10.1.2.3", 7),)), extract_targets(pod, TargetPaths((("status", "podIP"),)), [])
        )

    def test_base64(self) -> None:
        """A host in base64 is read; a port as a text, too."""
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
        """Items without a host are left out when others have one; no host at all is no refusal, and no port neither."""
        places = TargetPaths((("h",), ("i", "j")), (), ("p",))
        self.assertEqual(
            FoundTargets((Target("a.test", 7),)), extract_targets([{}, {"h": "a.test", "p": 7}], places, [])
        )
        for document, words in (([{}], "no host at h or i.j"), ([{"h": "a.test"}], "no port"), ([{"h": 7}], "no port")):
            self.assertIn(words, str(self.assertRaises(BadAnswer, extract_targets, document, places, [])))
