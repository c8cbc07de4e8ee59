"""Tests for sniproxy.migrate.tlsroute.manifests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import MigrateError, Notes, SourceFile
from sniproxy.migrate.tlsroute.manifests import Manifests, load, whole
from tests.support.envoyconfig import notes
from tests.support.manifests import as_yaml, core, gateway, manifest, tls_route


class LoadTests(SynchronousTestCase):
    """Objects of files."""

    def setUp(self) -> None:
        self.report = Notes()

    def loaded(self, *objects: object) -> Manifests:
        return load([SourceFile("routes.yaml", as_yaml(*objects))], self.report)

    def test_objects(self) -> None:
        """Documents, and the items of lists, also of lists in lists."""
        listed = {
            "kind": "List",
            "items": [tls_route("a", "x"), {"kind": "TLSRouteList", "items": [tls_route("b", "x")]}],
        }
        found = self.loaded(gateway(), listed, core("Service", "s", namespace="pulsar"), {"other": 1}, ["x"])
        self.assertEqual(["a", "b"], [one.name for one in found.all("TLSRoute")])
        service = found.one("Service", "pulsar", "s")
        assert service is not None
        self.assertEqual(("", "Service pulsar/s"), (service.group, service.place.key))
        self.assertIsNone(found.one("Service", "default", "s"))

    def test_deep_lists(self) -> None:
        """Lists in lists have a limit."""
        listed: dict[str, object] = tls_route("deep", "x")
        for _ in range(5):
            listed = {"kind": "List", "items": [listed]}
        self.assertEqual(["a"], [one.name for one in self.loaded(tls_route("a", "x"), listed).all("TLSRoute")])

    def test_repeated_object(self) -> None:
        """The first is used, and that is reported."""
        found = self.loaded(tls_route("a", "x"), tls_route("a", "y"))
        self.assertEqual(1, len(found.all("TLSRoute")))
        self.assertIn("TLSRoute default/a: a second object", notes(self.report, True))

    def test_other_routes(self) -> None:
        """Routes of HTTP and TCP are reported; those of other groups are not."""
        self.loaded(tls_route("a", "x"), manifest("HTTPRoute", "b"), core("HTTPRoute", "c"))
        self.assertEqual("left_out HTTPRoute default/b", notes(self.report).partition(":")[0])

    def test_no_route(self) -> None:
        """The message has the command that prints what is needed."""
        with self.assertRaises(MigrateError) as raised:
            self.loaded(gateway())
        self.assertIn("routes.yaml: no TLSRoute; write the output of kubectl get tlsroutes", str(raised.exception))

    def test_age(self) -> None:
        """Older objects come first, then those whose namespace and name come first; without a time last."""
        found = self.loaded(
            tls_route("c", "x"), tls_route("b", "x", creationTimestamp="2026-01-01T00:00:00Z"),
            tls_route("z", "x", creationTimestamp="2025-01-01T00:00:00Z"), tls_route("a", "x", namespace="zz"),
        )  # fmt: skip
        self.assertEqual(
            ["z", "b", "c", "a"], [one.name for one in sorted(found.all("TLSRoute"), key=lambda one: one.age)]
        )

    def test_numbers(self) -> None:
        """Whole numbers only."""
        (found,) = self.loaded({**tls_route("a", "x"), "spec": {"a": 1, "b": "2", "c": -1, "d": 1.5}}).all("TLSRoute")
        self.assertEqual([1, 2, None, None, None], [whole(found.node, "spec", key) for key in "abcde"])
