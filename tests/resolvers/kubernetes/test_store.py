"""Tests for sniproxy.resolvers.kubernetes.store."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes import store as module
from sniproxy.resolvers.kubernetes.objects import EndpointSlice
from sniproxy.resolvers.kubernetes.store import (
    BadData,
    Expired,
    LineSplitter,
    ObjectStore,
    WatchError,
    read_page,
    read_status,
)
from tests.support.kubernetesapi import endpoint_slice, pod

KEY = ("pulsar", "a")


def stored(name: str, version: int, **fields: Any) -> dict[str, Any]:
    """A slice as the API sends it."""
    document = {**endpoint_slice(name, pod("broker-0", "10.0.0.1")), **fields}
    document["metadata"] = {**document["metadata"], "namespace": "pulsar", "resourceVersion": str(version)}
    return document


def listed(*items: Any, version: str = "7") -> bytes:
    """One page of a list."""
    return json.dumps({"metadata": {"resourceVersion": version}, "items": list(items)}).encode()


def event(kind: str, document: Any) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": document}).encode()


class StoreTests(SynchronousTestCase):
    """Lists and events."""

    def setUp(self) -> None:
        self.store = ObjectStore(EndpointSlice)

    def test_list(self) -> None:
        """A list replaces all objects; its version is where to watch from."""
        self.store.replace([listed(stored("a", 3)), listed(stored("b", 4), version="8")])
        self.assertEqual([KEY, ("pulsar", "b")], list(self.store.objects))
        self.assertEqual("8", self.store.version)
        self.store.replace([b'{"metadata": {"resourceVersion": "9"}, "items": null}'])
        self.assertEqual(({}, "9"), (self.store.objects, self.store.version))

    def test_events(self) -> None:
        """Events add, change and remove objects; a bookmark moves only the version."""
        self.store.replace([listed()])
        self.assertTrue(self.store.apply(event("ADDED", stored("a", 8))))
        self.assertEqual("IPv4", self.store.objects[KEY].address_type)
        self.assertTrue(self.store.apply(event("MODIFIED", stored("a", 9, addressType="IPv6"))))
        self.assertEqual(("IPv6", "9"), (self.store.objects[KEY].address_type, self.store.version))
        self.assertFalse(self.store.apply(event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})))
        self.assertEqual("20", self.store.version)
        self.assertTrue(self.store.apply(event("DELETED", stored("a", 21))))
        self.assertEqual(({}, "21"), (self.store.objects, self.store.version))

    def test_expired(self) -> None:
        """410 asks for a new list; other errors do not."""
        for status in ({"code": 410}, {"reason": "Expired"}, {"reason": "Gone"}):
            self.assertRaises(Expired, self.store.apply, event("ERROR", status))
        error = self.assertRaises(WatchError, self.store.apply, event("ERROR", {"code": 500, "message": "etcd"}))
        self.assertIn("500", str(error))
        self.assertIn("etcd", str(error))

    def test_unreadable_object(self) -> None:
        """An object with an unexpected field type is skipped, and counted; the others are used."""
        bad = stored("a", 3, endpoints="none")
        self.store.replace([listed(bad, stored("b", 4))])
        self.assertEqual([("pulsar", "b")], list(self.store.objects))
        self.assertEqual([KEY], list(self.store.skipped))
        self.store.apply(event("MODIFIED", stored("a", 9)))
        self.assertEqual(({}, 2), (self.store.skipped, len(self.store.objects)))
        self.store.apply(event("MODIFIED", bad))
        self.assertEqual(([KEY], 1), (list(self.store.skipped), len(self.store.objects)))
        self.store.apply(event("DELETED", bad))
        self.assertEqual({}, self.store.skipped)

    def test_bounds(self) -> None:
        """The number of objects is bounded, also by events; the objects before stay."""
        self.patch(module, "MAX_OBJECTS", 2)
        self.store.replace([listed(stored("a", 3))])
        many = [stored(name, 3) for name in "abc"]
        self.assertRaises(BadData, self.store.replace, [listed(*many)])
        self.assertEqual([KEY], list(self.store.objects))
        self.store.apply(event("ADDED", many[1]))
        self.assertRaises(BadData, self.store.apply, event("ADDED", many[2]))

    def test_no_version(self) -> None:
        """A list without a version cannot be watched from."""
        self.assertRaises(BadData, self.store.replace, [listed(version="")])

    def test_invalid(self) -> None:
        """Invalid lines are errors with a cause."""
        for line in (b"", b"nothing", b"[]", b'{"type": 1}', event("ADDED", []), event("ADDED", {"metadata": 1})):
            self.assertRaises(BadData, self.store.apply, line)
        self.assertRaises(BadData, self.store.apply, event("NEW", stored("a", 3)))
        self.assertRaises(BadData, read_page, b"<html>")
        self.assertEqual(0, read_status(b"<html>").code)

    @given(st.binary(max_size=200))
    def test_any_line(self, line: bytes) -> None:
        """Any bytes raise nothing else."""
        for call in (ObjectStore(EndpointSlice).apply, read_page, read_status):
            try:
                call(line)
            except (BadData, Expired, WatchError):
                pass

    @given(
        st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "NEW"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["metadata", "endpoints", "ports", "name", "code"]), inner, max_size=4
                )
            ),
            max_leaves=8,
        ),
    )
    def test_any_object(self, kind: str, document: object) -> None:
        """Any JSON raises nothing else."""
        try:
            ObjectStore(EndpointSlice).apply(event(kind, document))
        except (BadData, Expired, WatchError):
            pass


class LineTests(SynchronousTestCase):
    """Lines of a watch."""

    @given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda one: b"\n" not in one and one.strip())), st.data())
    def test_any_parts(self, lines: list[bytes], data: st.DataObject) -> None:
        """Lines are the same in whatever parts their bytes arrive."""
        text = b"".join(line + b"\n" for line in lines)
        splitter, start = LineSplitter(), 0
        found: list[bytes] = []
        while start < len(text):
            end = data.draw(st.integers(start + 1, len(text)))
            found += splitter.split(text[start:end])
            start = end
        self.assertEqual(lines, found)

    def test_empty(self) -> None:
        """Empty lines are ignored."""
        self.assertEqual([b"a"], list(LineSplitter().split(b"\r\n\na\n")))

    def test_bound(self) -> None:
        """A line that does not end is an error."""
        self.patch(module, "MAX_EVENT_BYTES", 10)
        splitter = LineSplitter()
        self.assertEqual([b"0123456789"], list(splitter.split(b"0123456789\n01234")))
        self.assertRaises(BadData, list, splitter.split(b"5678901"))
