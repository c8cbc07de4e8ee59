"""Tests for tests.peers.scalable."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.children import ChildError
from tests.peers.needs import require
from tests.peers.scalable import ScalableClient

SCRIPT = r"""
while read -r line; do
    echo 'WARN {"did": "not a report"}'
    case $line in
    fail*) echo "{\"did\":\"$line\",\"error\":\"E\",\"root\":\"R\"}" ;;
    receive*) echo "{\"did\":\"$line\",\"received\":[\"b\",\"a\"]}" ;;
    die) exit 3 ;;
    *) echo "{\"did\":\"$line\"}" ;;
    esac
done
"""


class ScalableClientTests(SynchronousTestCase):
    """A shell in place of the V5 client."""

    def setUp(self) -> None:
        """Start it."""
        require("setpriv")
        self.client = ScalableClient(["bash", "-c", SCRIPT])
        self.addCleanup(self.client.stop)

    def test_reports(self) -> None:
        """Each step has its own report, apart from other output."""
        self.assertEqual({"did": "open queue q"}, self.client.attempt("open queue q"))
        self.assertEqual({"did": "close q"}, self.client.do("open queue q", "close q"))
        self.assertEqual(["a", "b"], self.client.receive("q", 2))
        self.assertEqual(0, self.client.finish())

    def test_failure(self) -> None:
        """A failed step is a report of `attempt`, and an error of `do`, which does no further step."""
        self.assertEqual("E", self.client.attempt("fail")["error"])
        with self.assertRaisesRegex(AssertionError, "'did': 'fail now'"):
            self.client.do("fail now", "open queue q")
        self.assertEqual({"did": "next"}, self.client.do("next"))

    def test_end(self) -> None:
        """A client that ends in a step is an error, with its output."""
        with self.assertRaisesRegex(ChildError, "not a report"):
            self.client.do("die")
