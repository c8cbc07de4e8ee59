"""Results and their file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import Spread
from bench.results import Result, Runs, read, write


def result() -> Result:
    """Three peers, of which one failed."""
    return Result(
        "here",
        "3 runs",
        {
            "ours": Runs({"MB/s": [2.0, 30.0, 4.0], "s": [1.0, 1.0, 1.0]}),
            "a": Runs({"MB/s": [1.0, 10.0, 4.0], "s": [3.0, 3.0, 3.0]}),
            "b": Runs({"MB/s": [3.0, 3.0, 3.0]}),
            "c": Runs({"MB/s": [99.0]}, "it lost 3 bytes"),
        },
        {"a": "a 1.2"},
    )


class ResultTests(SynchronousTestCase):
    """Spreads, the best, ratios."""

    def test_add(self) -> None:
        """Runs are added figure by figure."""
        runs = Runs()
        runs.add({"x": 1.0})
        runs.add({"x": 3.0})
        self.assertEqual(runs.spread("x"), Spread(2.0, 1.0, 3.0))
        self.assertIsNone(runs.spread("y"))

    def test_best(self) -> None:
        """The best peer has the best median, without failed ones."""
        self.assertEqual(result().best("MB/s", True, ("a", "b", "c")), "a")
        self.assertEqual(result().best("MB/s", False, ("a", "b", "c")), "b")
        self.assertEqual(result().best("s", False, ("ours", "b")), "ours")
        self.assertIsNone(result().best("s", False, ("b", "c")))

    def test_ratio(self) -> None:
        """Ratios are of the same round."""
        self.assertEqual(result().ratio("MB/s", "ours", "a"), Spread(2.0, 1.0, 3.0))
        self.assertIsNone(result().ratio("MB/s", "ours", "c"))
        self.assertIsNone(result().ratio("MB/s", "ours", "nobody"))

    def test_figures(self) -> None:
        """The figures are those of all peers, in order."""
        self.assertEqual(result().figures(), ["MB/s", "s"])

    def test_file(self) -> None:
        """Written results are read again, rounded to five digits; without a file there are none."""
        path = Path(self.mktemp())
        self.assertEqual(read(path), {})
        write(path, {"bulk1": result()})
        self.assertEqual(read(path), {"bulk1": result()})
        write(path, {"x": Result("here", "1 run", {"a": Runs({"s": [1.23456789]})})})
        self.assertEqual(read(path)["x"].peers["a"].figures, {"s": [1.2346]})

    def test_older(self) -> None:
        """A file without versions can be read."""
        path = Path(self.mktemp())
        path.write_text('{"x": {"environment": "here", "how": "1 run", "peers": {"a": {"figures": {"s": [1.0]}}}}}')
        self.assertEqual(read(path), {"x": Result("here", "1 run", {"a": Runs({"s": [1.0]})}, {})})
