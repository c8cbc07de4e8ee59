"""Tests for tests.peers.faulttable and flowrun: the page's table, and one fault with the real clients."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.peers import faulttable, flowfaults, flowrun, provide
from tests.peers.flowfacts import Fact
from tests.peers.flowfaults import FlowFault
from tests.peers.flowrun import FlowClient, FlowError
from tests.peers.needs import require

if not faulttable.PAGE.exists():
    skip = "docs/ is not here: the tests run apart from the sources"

ONE, TWO = flowfaults.ALL[:2]


class PageTests(SynchronousTestCase):
    """docs/reference/client-faults.md."""

    def test_rows(self) -> None:
        """The table has a row for each fault, in the order of the list, with a cell for each client."""
        text = faulttable.PAGE.read_text()
        rows = faulttable.rows_of(text)
        self.assertEqual([fault.title for fault in flowfaults.ALL], list(rows))
        self.assertEqual({3}, {len(cells) for cells in rows.values()})
        self.assertTrue(all(all(cells) for cells in rows.values()))
        heads = r"\| fault \| Java [\d.]+ \| Python [\d.]+ \| Go [\d.]+ \|"
        self.assertRegex(text, f"<!-- bench:{faulttable.TABLE} -->\n{heads}\n")

    def test_table(self) -> None:
        """A table is read as it was written; what is not in the list of faults is left out."""
        rows = {TWO.title: ["a", "b; c"], ONE.title: ["d", "e"], "something": ["f", "g"]}
        text = faulttable.table(["Java 1", "Go 2"], rows)
        self.assertTrue(text.startswith("| fault | Java 1 | Go 2 |\n| --- | --- | --- |\n| "))
        self.assertEqual([(ONE.title, ["d", "e"]), (TWO.title, ["a", "b; c"])], list(faulttable.rows_of(text).items()))


class ProgramTests(SynchronousTestCase):
    """The program, with runs that are not real."""

    def setUp(self) -> None:
        """Clients that are there, whose facts say what was run; a page of one test."""
        self.said = io.StringIO()
        self.patch(sys, "stdout", self.said)
        self.clients = [FlowClient(name, (), lambda url, fault: []) for name in ("Java", "Go")]
        self.patch(faulttable, "all_clients", lambda: self.clients)
        self.patch(faulttable, "run_flow", self.run_flow)
        self.page = Path(self.mktemp())
        old = faulttable.table(["Java", "Go"], {TWO.title: ["old", "old"]})
        self.page.write_text(f"before\n<!-- bench:{faulttable.TABLE} -->\n{old}<!-- end -->\nafter\n")
        self.patch(faulttable, "PAGE", self.page)
        self.runs = 0

    def run_flow(self, fault: FlowFault, client: FlowClient, folder: Path) -> list[Fact]:
        """A run that counts."""
        self.assertEqual([], list(folder.iterdir()))
        self.runs += 1
        return [Fact(f"{client.name} at {fault.name}")]

    def test_write(self) -> None:
        """Measured rows are written, the others stay."""
        self.assertEqual(0, faulttable.main(["--fault", ONE.name, "--runs", "2", "--jobs", "1", "--write"]))
        self.assertEqual(4, self.runs)
        text = self.page.read_text()
        expected = {ONE.title: [f"Java at {ONE.name}", f"Go at {ONE.name}"], TWO.title: ["old", "old"]}
        self.assertEqual(expected, faulttable.rows_of(text))
        self.assertTrue(text.startswith("before\n"))
        self.assertTrue(text.endswith("; 2 runs of each client with each fault.\n<!-- end -->\nafter\n"))
        self.assertIn(f"{ONE.name}:\n    Java at {ONE.name}\n", self.said.getvalue())

    def test_no_write(self) -> None:
        """Without the option, all faults are run and nothing is written."""
        before = self.page.read_text()
        self.assertEqual(0, faulttable.main(["--runs", "1"]))
        self.assertEqual((2 * len(flowfaults.ALL), before), (self.runs, self.page.read_text()))

    def test_failure(self) -> None:
        """A fault of which a run failed keeps its row."""

        def fail(fault: FlowFault, client: FlowClient, folder: Path) -> list[Fact]:
            if fault is TWO:
                raise FlowError("the fault was not applied")
            return self.run_flow(fault, client, folder)

        self.patch(faulttable, "run_flow", fail)
        arguments = ["--fault", ONE.name, "--fault", TWO.name, "--jobs", "1", "--write"]
        self.assertEqual(1, faulttable.main(arguments))
        self.assertIn(f"{TWO.name}:\n    a run failed: the fault was not applied\n", self.said.getvalue())
        self.assertEqual({ONE.title, TWO.title}, set(faulttable.rows_of(self.page.read_text())))

    def test_missing(self) -> None:
        """Without a client nothing is run."""
        self.clients[1] = attrs.evolve(self.clients[1], parts=("go",))
        self.patch(provide, "cache_folder", lambda: Path(self.mktemp()))
        self.assertEqual((69, 0), (faulttable.main([]), self.runs))
        self.assertEqual("not provided: go; make peers\n", self.said.getvalue())


class ClientTests(SynchronousTestCase):
    """The reset of a connection in place of a receipt, with each client."""

    def run_with(self, number: int) -> None:
        """Assert that the client connects again, fails no call, and loses no message."""
        client = flowrun.all_clients()[number]
        require("setpriv", "tail", *(["java"] if number == 0 else []), parts=client.parts)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        facts = flowrun.run_flow(flowfaults.find("receipt-reset"), client, folder)
        # A machine that is busy may make the send slow.
        texts = [fact.text for fact in facts if not fact.text.startswith("send {0} takes")]
        self.assertEqual(["no call fails", "connects again {0:after}", "stored twice: {0:messages}"], texts[:3])
        self.assertEqual([], [text for text in texts[3:] if not text.startswith("redelivered")])

    def test_java(self) -> None:
        """The Java client."""
        self.run_with(0)

    def test_python(self) -> None:
        """The Python client."""
        self.run_with(1)

    def test_go(self) -> None:
        """The Go client."""
        self.run_with(2)

    def test_not_applied(self) -> None:
        """A run whose fault was not applied says nothing."""
        require("setpriv", "tail")
        client = FlowClient("a shell", (), lambda url, fault: ["echo", '{"at": 1, "what": "end"}'])
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        error = self.assertRaises(FlowError, flowrun.run_flow, ONE, client, folder)
        self.assertIn('{"at": 1, "what": "end"}', str(error))
