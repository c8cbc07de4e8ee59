"""The page of results."""

from __future__ import annotations

from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from bench.cases import CASES
from bench.goals import GOALS
from bench.report import DOCUMENT, RESULTS, SUMMARY, main, page, summary, table, versions
from bench.results import Result, Runs, read, write
from bench.table import replaced
from tests.support.packages import missing

FILES = "x.md", "y.md", "performance.svg", "scale.svg"

BULK = Result(
    "2 CPUs",
    "2 runs",
    {
        "ours": Runs({"MB/s": [2.0, 2.0], "proxy CPU, s/GB": [0.5, 0.5]}),
        "haproxy": Runs({"MB/s": [1.0, 1.0], "proxy CPU, s/GB": [1.0, 1.0]}),
        "nginx": Runs({}, "it lost 3 bytes"),
        "direct": Runs({"MB/s": [9.0, 9.0]}),
    },
)
SCALE = Result("2 CPUs", "1 run", {"ours": Runs({"100: KiB each": [1.0], "1,000: KiB each": [2.0]})})


class TableTests(SynchronousTestCase):
    """A table for a case."""

    def test_figures(self) -> None:
        """Each peer has a row with its ratio to the best other; a failed one has the reason."""
        text = table(CASES["bulk1"], BULK)
        self.assertRegex(text, r"\| MB/s / haproxy's \|\n")
        self.assertRegex(text, r"\| ours .*\| 2\.00 \(2\.00-2\.00\) \|\n")
        self.assertRegex(text, r"\| nginx +\| +fails \|")
        self.assertIn("\nnginx fails: it lost 3 bytes\n", text)

    def test_relay(self) -> None:
        """Our proxy has the relay that served beside its name."""
        result = Result(
            "", "", {"ours": Runs({"MB/s": [1.0]}), "haproxy": Runs({"MB/s": [1.0]})}, {}, {"ours": "python"}
        )
        self.assertIn("| ours (python) ", table(CASES["bulk1"], result))
        self.assertIn(" ours (python) ", summary({"bulk1": result}))

    def test_skipped(self) -> None:
        """What was skipped is not a failure."""
        text = table(CASES["instructions"], Result("", "", {"ours": Runs({}, "skipped: no valgrind")}))
        self.assertRegex(text, r"\| ours +\| +skipped \|")
        self.assertIn("\nours skipped: no valgrind\n", text)

    def test_numbers(self) -> None:
        """Figures for several numbers have a column for each number."""
        self.assertRegex(table(CASES["scale"], SCALE), r"\| KiB each \| +100 \| +1,000 \|\n")

    def test_passes(self) -> None:
        """A case without figures passes or fails."""
        text = table(CASES["check"], Result("", "", {"ours": Runs(), "nginx": Runs({}, "lost")}))
        self.assertRegex(text, r"ours +\| +passes")
        self.assertRegex(text, r"nginx +\| +fails")


class VersionTests(SynchronousTestCase):
    """The table of versions."""

    def test_versions(self) -> None:
        """Each version of a peer has its cases."""
        found = {
            "check": Result("", "", {"ours": Runs(), "nginx": Runs()}, {"ours": "sniproxy 1", "nginx": "nginx/1"}),
            "bulk1": Result("", "", {"ours": Runs(), "nginx": Runs()}, {"ours": "sniproxy 1", "nginx": "nginx/2"}),
            "choice": Result("", "", {"ours": Runs()}, {"ours": "sniproxy 1"}),
        }
        rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in versions(found).splitlines()[2:]]
        self.assertEqual(
            rows, [["ours", "sniproxy 1", "all"], ["nginx", "nginx/1", "check"], ["nginx", "nginx/2", "bulk1"]]
        )
        self.assertIn(versions(found), page(DOCUMENT.read_text(), found))

    def test_older(self) -> None:
        """Old results have no versions."""
        self.assertEqual(versions({"bulk1": BULK}), "")


class PageTests(SynchronousTestCase):
    """The document and its plots."""

    def test_places(self) -> None:
        """The document has a place for each case and goal."""
        text = DOCUMENT.read_text()
        for name in ("goals", "versions", *CASES, *(goal.case for goal in GOALS)):
            self.assertIn(f"<!-- bench:{name} -->\n", text)

    def test_kept(self) -> None:
        """The documents in the repository match their results."""
        found = read(RESULTS)
        self.assertEqual(page(DOCUMENT.read_text(), found), DOCUMENT.read_text())
        self.assertEqual(replaced(SUMMARY.read_text(), "summary", summary(found)), SUMMARY.read_text())

    @skipIf(*missing("matplotlib"))
    def test_same(self) -> None:
        """Equal results give equal files without a background."""
        folder = Path(self.mktemp())
        folder.mkdir()
        write(folder / "x.json", {"bulk1": BULK, "scale": SCALE})
        (folder / "x.md").write_text(DOCUMENT.read_text())
        (folder / "y.md").write_text(SUMMARY.read_text())
        written = []
        for _ in range(2):
            main(folder / "x.md", folder / "x.json", folder / "y.md")
            written.append([(folder / name).read_bytes() for name in FILES])
        self.assertEqual(*written)
        self.assertIn(b"| haproxy | 2.00 (2.00-2.00) | not judged", written[0][0].replace(b"  ", b""))
        for plot in written[0][2:]:
            self.assertIn(b"<text", plot)
            self.assertNotIn(b"<dc:date>", plot)
