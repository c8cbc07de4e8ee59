"""What a choice costs, in process."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.choice import costs


class CostTests(SynchronousTestCase):
    """Figures by the number of names."""

    def test_costs(self) -> None:
        """Each size has a name that is there, one of a wildcard and one of none; hello and cache have their own."""
        found = costs((1, 20), 20)
        kinds = {"exact", "wildcard", "none"}
        expected = {f"{size} names: {kind}, µs" for size in (1, 20) for kind in kinds}
        self.assertEqual(set(found), {*expected, "reading: hello, µs", "cache: hit, µs"})
        self.assertGreater(min(found.values()), 0)
