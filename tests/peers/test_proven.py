"""Tests for tests.peers.proven, and the README's table of versions."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import proven, versions
from tests.peers.proven import Record
from tests.peers.versions import Pulsar

PULSARS = (Pulsar("1.0", "1.0.3", 17), Pulsar("2.0", "2.0.0", 21))
RECORD = Record("1.0.3", "all", 93, 4, "3.13.0", "0.19.0", "2026-11-29")


class ReadmeTests(SynchronousTestCase):
    """The README of this project."""

    def test_table(self) -> None:
        """Its table is what the recorded runs and the list of versions say; `--table` writes it."""
        table = proven.table(versions.ALL, proven.read_records())
        self.assertIn(f"<!-- bench:{proven.TABLE} -->\n{table}<!-- end -->\n", proven.README.read_text())

    def test_core(self) -> None:
        """Each test of the core exists."""
        for name in proven.CORE:
            module = ".".join(name.split(".")[:3])
            __import__(module)
            found: object = sys.modules[module]
            for part in name.split(".")[3:]:
                found = getattr(found, part)


class TableTests(SynchronousTestCase):
    """Rows."""

    def test_rows(self) -> None:
        """A version has its record; one that was not run, or with another release, is not proven."""
        rows = proven.table(PULSARS, {"1.0": RECORD}).splitlines()[2:]
        self.assertEqual(rows[0].replace(" ", ""), "|1.0.3|17|all|93|4|3.13.0|0.19.0|2026-11-29|")
        self.assertEqual(rows[1].replace(" ", ""), "|2.0.0|21|notproven||||||")
        newer = (Pulsar("1.0", "1.0.4", 17),)
        self.assertIn("not proven", proven.table(newer, {"1.0": RECORD}))

    def test_clients(self) -> None:
        """The versions of both clients are known."""
        self.assertEqual([bool(version) for version in proven.clients()], [True, True])


class CountTests(SynchronousTestCase):
    """Trial's last line."""

    def test_counts(self) -> None:
        """Passed and skipped tests are counted; a failure, or nothing that passed, is no proof."""
        self.assertEqual(proven.counts("PASSED (skips=3, successes=90)\n"), (90, 3))
        self.assertEqual(proven.counts("PASSED (successes=90)\n"), (90, 0))
        for line in ("FAILED (errors=1, successes=89)", "PASSED (skips=9)", ""):
            self.assertIsNone(proven.counts(line))

    def test_run(self) -> None:
        """A run with a version has its name, and needs the peers."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        program = folder / "python"
        self.patch(sys, "executable", str(program))
        said = io.StringIO()
        self.patch(sys, "stdout", said)
        program.write_text('#!/bin/sh\necho "$PULSAR $REQUIRE_PEERS $PEERS_LONG $3"\necho "PASSED (successes=2)"\n')
        program.chmod(0o755)
        self.assertEqual(proven.run(PULSARS[0], ["tests.x"], long=True), (2, 0))
        self.assertIn("1.0 1 1 tests.x\n", said.getvalue())
        with program.open("a") as file:
            file.write("exit 1\n")
        self.assertIsNone(proven.run(PULSARS[0], ["tests.x"], long=False))


class MainTests(SynchronousTestCase):
    """The command, with its own README and records."""

    def setUp(self) -> None:
        """A README with an empty table."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.readme, self.records = folder / "README.md", folder / "proven.json"
        self.readme.write_text("before\n<!-- bench:versions -->\n<!-- end -->\nafter\n")
        self.records.write_text("{}\n")
        read, write = proven.read_records, proven.write_records
        self.patch(proven, "README", self.readme)
        self.patch(proven, "read_records", lambda: read(self.records))
        self.patch(proven, "write_records", lambda records: write(records, self.records))
        self.patch(versions, "ALL", PULSARS)
        self.patch(versions, "DEFAULT", "2.0")
        self.said = io.StringIO()
        self.patch(sys, "stdout", self.said)
        self.ran: list[tuple[str, bool]] = []
        self.failing = ""

        def run(pulsar: Pulsar, tests: Sequence[str], long: bool) -> tuple[int, int] | None:
            self.ran.append((pulsar.name, long))
            return None if pulsar.name == self.failing else (5, 1)

        self.patch(proven, "run", run)

    def test_all(self) -> None:
        """All versions run in full length, and are recorded."""
        self.assertEqual(proven.main([]), 0)
        self.assertEqual(self.ran, [("1.0", True), ("2.0", True)])
        self.assertEqual(self.readme.read_text().count("all, in full length"), 2)
        self.assertTrue(self.readme.read_text().endswith("<!-- end -->\nafter\n"))

    def test_failure(self) -> None:
        """A version that fails loses its record; the status says so, and the other runs count."""
        proven.main([])
        self.failing = "1.0"
        self.assertEqual(proven.main(["--tests", "all"]), 1)
        self.assertEqual(list(proven.read_records()), ["2.0"])
        self.assertIn("not proven", self.readme.read_text())
        self.assertIn("failed: 1.0.3", self.said.getvalue())

    def test_some(self) -> None:
        """Only the named versions run, with fewer tests, as the table says."""
        self.assertEqual(proven.main(["2.0", "--tests", "core"]), 0)
        self.assertEqual(self.ran, [("2.0", False)])
        self.assertIn("the core", self.readme.read_text())

    def test_nothing_runs(self) -> None:
        """The lists for CI are printed, and the table is written, without a run."""
        with mock.patch.dict(os.environ):
            for option in ("--core", "--others", "--table"):
                self.assertEqual(proven.main([option]), 0)
        self.assertEqual(self.ran, [])
        core, others, *_ = self.said.getvalue().splitlines()
        self.assertEqual((core.split(), others), (list(proven.CORE), "1.0"))
