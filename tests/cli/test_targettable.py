"""Tests for sniproxy.cli.targettable."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.targettable import MAX_TARGETS, has_table, target_lines
from tests.support.statusfixture import status, target


class TableTests(SynchronousTestCase):
    """The table of targets."""

    def test_table(self) -> None:
        """Targets that are not up come first, with the reason below; then those with most tunnels."""
        names = [f"n{number}.test" for number in range(5)]
        self.assertEqual(
            [
                "target         state  for  tunnels  most  new/s  failed    p50   p99  up B/s  down B/s  names",
                "10.0.0.3:6651  down    2h        0   203      0       0  1.2ms  31ms   12.3k      4.5M  "
                "broker-3.pulsar.test, pulsar-vip.test",
                "  connection refused",
                "10.0.0.2:6651  up      2h      102   202    1.5       0  1.2ms  31ms   12.3k      4.5M  "
                "n0.test, n1.test, n2.test and 2 more",
                "10.0.0.1:6651  up      2h      101   201    1.5       0      -     -   12.3k      4.5M",
            ],
            list(
                target_lines(
                    status(
                        targets=[
                            target(1, names=[], connect_p50_s=None, connect_p99_s=None),
                            target(2, names=names),
                            status()["targets"][2],
                        ]
                    )
                )
            ),
        )

    def test_many(self) -> None:
        """Of many targets the first are shown, and the others counted, those that are not listed, too."""
        targets = [target(number) for number in range(MAX_TARGETS + 1)]
        found = list(target_lines(status(targets=targets, target_count=2000)))
        self.assertEqual((MAX_TARGETS + 2, "1950 more targets"), (len(found), found[-1]))
        self.assertEqual("1 more target", list(target_lines({"targets": targets}))[-1])

    def test_older(self) -> None:
        """Older releases have no table."""
        self.assertTrue(has_table(status()))
        self.assertFalse(has_table({"targets": [{"target": "a:1", "state": "up"}]}))
        self.assertFalse(has_table({}))
