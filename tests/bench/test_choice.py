"""The benchmark without sockets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.choice import costs


class CostTests(SynchronousTestCase):
    """Figures by the number of names."""

    def test_costs(self) -> None:
        """Each size has figures for an exact name, a wildcard and an unknown name; hello and cache have one each."""
        found = costs((1, 20), 20)
        kinds = {"exact", "wildcard", "none"}
        expected = {f"{size} names: {kind}, µs" for size in (1, 20) for kind in kinds}
        self.assertEqual(set(found), {*expected, "reading: hello, µs", "cache: hit, µs"})
        self.assertGreater(min(found.values()), 0)
