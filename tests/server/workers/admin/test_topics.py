"""Tests for sniproxy.server.workers.admin.topics."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.server.workers.admin.topics import merge_topics
from tests.admin.sample import NOW, SampleSite
from tests.support.reactor import reactor


def topics(site: SampleSite) -> dict[str, Any]:
    """The JSON of a worker."""
    found: dict[str, Any] = json.loads(finish(site.site.topics_steps(0, 10_000)))
    return found


class MergeTests(SynchronousTestCase):
    """merge_topics: the ledger of all workers."""

    def setUp(self) -> None:
        self.site = SampleSite(reactor)
        self.site.fill()

    def test_same(self) -> None:
        """The ledger of one worker is the same."""
        alone = topics(self.site)
        found = json.loads(json.dumps(merge_topics([alone], NOW, False, 10_000)))
        for name in ("topics", "namespaces", "clusters", "brokers", "scalable_topics", "failures", "moved", "lookups"):
            self.assertEqual(sorted(map(str, [alone[name]])), sorted(map(str, [found[name]])), name)

    def test_sums(self) -> None:
        """Lookups are added up, topics that several know are one; the newest events come first."""
        alone = topics(self.site)
        nothing = topics(SampleSite(reactor, inspecting=False))
        found = merge_topics([alone, nothing, alone], NOW, False, 5)
        self.assertEqual(
            (alone["count"], 2 * alone["lookups"], 2 * alone["failed"]),
            (found["count"], found["lookups"], found["failed"]),
        )
        self.assertEqual((5, alone["count"] - 5), (len(list(found["topics"])), found["left_out"]["topics"]))
        times = [event["time"] for event in found["moved"]]
        self.assertEqual(sorted(times, reverse=True), times)

    def test_nothing(self) -> None:
        """No worker inspects."""
        self.assertFalse(merge_topics([topics(SampleSite(reactor, inspecting=False))], NOW, False, 5)["inspecting"])
