"""Tests for sniproxy.admin.ledgerdocument."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.ledgerdocument import ledger_of
from sniproxy.admin.slices import finish
from tests.admin.sample import SampleSite
from tests.support.reactor import reactor


class LedgerTests(SynchronousTestCase):
    """ledger_of: the ledger in the JSON of /topics."""

    def test_same(self) -> None:
        """It has what the proxy's ledger has; fields that it does not know are ignored, absent ones are unknown."""
        site = SampleSite(reactor)
        site.fill()
        document = json.loads(finish(site.site.topics_steps(0, 10_000)))
        document["topics"][0]["later"] = 1
        for name in ("layout", "segment"):
            del document["topics"][0][name]
        found, ledger = ledger_of(document), site.ledger.snapshot()
        self.assertEqual(
            {one.topic: one.lookups for one in ledger.topics}, {one.topic: one.lookups for one in found.topics}
        )
        self.assertEqual(
            {one.topic: one.moves for one in ledger.topics}, {one.topic: one.moves for one in found.topics}
        )
        self.assertEqual(
            {one.topic: one.layout for one in ledger.topics}, {one.topic: one.layout for one in found.topics}
        )
        self.assertEqual(sorted(map(str, ledger.namespaces)), sorted(map(str, found.namespaces)))
        self.assertEqual(ledger.failures, found.failures)

    def test_other(self) -> None:
        """A document of another form."""
        self.assertRaises(KeyError, ledger_of, {})
        self.assertRaises(TypeError, ledger_of, {"topics": 1})
