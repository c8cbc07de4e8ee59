"""Tests for sniproxy.resolvers.kubernetes.conditions."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.conditions import MAX_PARENTS, status_patch
from sniproxy.resolvers.kubernetes.gatewayobjects import ParentRef, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import Condition
from sniproxy.resolvers.kubernetes.tlsroutes import ParentResult
from tests.support.gatewayapi import route, typed

GOOD = Condition(True, "Accepted", "served")
BAD = Condition(False, "NotAllowedByListeners", "why")
RESOLVED = Condition(True, "ResolvedRefs", "found")
THEN, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
OTHER = {"parentRef": {"name": "gw"}, "controllerName": "other/one", "conditions": [{"type": "Accepted", "new": 1}]}


def result(accepted: Condition = GOOD, **parent: Any) -> ParentResult:
    """A result for a parentRef."""
    return ParentResult(ParentRef("gw", **parent), accepted, RESOLVED)


class StatusTests(SynchronousTestCase):
    """Patches of a status."""

    def patch_of(self, results: list[ParentResult], parents: Any = None, now: str = NOW, generation: int = 1) -> Any:
        document = route(generation=generation, resourceVersion="7")
        document["status"] = {"parents": parents}
        return status_patch(typed(document, TLSRoute), results, "our/own", now)

    def written(self, *results: ParentResult, parents: Any = None, **options: Any) -> list[Any]:
        patch = self.patch_of(list(results), parents, **options)
        self.assertEqual("7", patch["metadata"]["resourceVersion"])
        found: list[Any] = patch["status"]["parents"]
        return found

    def test_first(self) -> None:
        """The first status of a route."""
        (entry,) = self.written(result(section_name="tls", port=443))
        self.assertEqual({"name": "gw", "sectionName": "tls", "port": 443}, entry["parentRef"])
        self.assertEqual("our/own", entry["controllerName"])
        accepted, resolved = entry["conditions"]
        wanted = {
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "served",
            "observedGeneration": 1, "lastTransitionTime": NOW,
        }  # fmt: skip
        self.assertEqual(wanted, accepted)
        self.assertEqual(("ResolvedRefs", "True"), (resolved["type"], resolved["status"]))
        plain = typed(route(), TLSRoute)
        self.assertIsNone(status_patch(plain, [], "our/own", NOW))

    def test_right(self) -> None:
        """A status that is right is not written again, in whatever order other controllers have written."""
        parents = self.written(result())
        self.assertIsNone(self.patch_of([result()], parents, "2027-01-01T00:00:00Z"))
        self.assertIsNone(self.patch_of([result()], [*parents, OTHER]))
        self.assertIsNone(self.patch_of([result()], [OTHER, *parents]))

    def test_transition(self) -> None:
        """The time changes with the status alone; the generation with the route."""
        parents = self.written(result(), now=THEN)
        (entry,) = self.written(result(), parents=parents, generation=2)
        self.assertEqual(
            (2, THEN), (entry["conditions"][0]["observedGeneration"], entry["conditions"][0]["lastTransitionTime"])
        )
        (entry,) = self.written(result(BAD), parents=parents)
        self.assertEqual([NOW, THEN], [one["lastTransitionTime"] for one in entry["conditions"]])

    def test_others(self) -> None:
        """Entries and conditions of others stay as they are."""
        (entry,) = self.written(result(), now=THEN)
        more = {"type": "special.io/SomeField", "status": "True"}
        entry["conditions"].insert(0, more)
        found = self.written(result(BAD), parents=[OTHER, entry])
        self.assertEqual(OTHER, found[0])
        self.assertEqual([more["type"], "Accepted", "ResolvedRefs"], [one["type"] for one in found[1]["conditions"]])

    def test_removed(self) -> None:
        """Entries for parentRefs that are gone are removed."""
        parents = [OTHER, *self.written(result(), result(section_name="tls"))]
        self.assertEqual(2, len(self.written(result(), parents=parents)))
        self.assertEqual([OTHER], self.written(parents=parents))

    def test_newer(self) -> None:
        """A condition about a newer version of the route than the one that was read stays."""
        parents = self.written(result(), generation=5)
        self.assertIsNone(self.patch_of([result(BAD)], parents, generation=4))

    def test_bound(self) -> None:
        """A status has at most 32 entries."""
        self.assertEqual(MAX_PARENTS, len(self.written(*(result(port=number) for number in range(40)))))

    def test_damaged(self) -> None:
        """Entries without the usual fields are replaced."""
        bad = {"parentRef": {"name": "gw"}, "controllerName": "our/own", "conditions": ["x", {"type": "Accepted"}]}
        (entry,) = self.written(result(), parents=[bad])
        self.assertEqual(["Accepted", "ResolvedRefs"], [one["type"] for one in entry["conditions"]])
