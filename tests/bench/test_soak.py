"""The soak test: its checks, and a run of seconds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.soak import compare, grown
from bench.soakload import Tunnel

ROOT = Path(__file__).parent.parent.parent


def line(port: int, result: str, up: int, down: int) -> str:
    """A line of the access log."""
    entry = {"client": f"127.0.0.1:{port}", "server_name": "x", "result": result, "bytes_up": up, "bytes_down": down}
    return json.dumps(entry)


class CompareTests(SynchronousTestCase):
    """Comparison of clients and access log."""

    def test_same(self) -> None:
        """Equal counts are accepted, also of a reused port; cut tunnels are skipped."""
        tunnels = [Tunnel(1, 10, 20, True, 1.0), Tunnel(1, 30, 40, True, 2.0), Tunnel(2, 1, 1, False, 3.0)]
        self.assertEqual(compare(tunnels, [line(1, "ok", 10, 20), line(1, "ok", 30, 40)], []), [])

    def test_other(self) -> None:
        """Different counts, another result and a missing line are faults."""
        for lines in ([line(1, "ok", 10, 19)], [line(1, "reset", 10, 20)], []):
            self.assertEqual(len(compare([Tunnel(1, 10, 20, True, 1.0)], lines, [0.5])), 1, lines)

    def test_killed(self) -> None:
        """Bytes in flight to a killed backend may be missing."""
        self.assertEqual(compare([Tunnel(1, 10, 20, True, 1.0)], [line(1, "reset", 5, 20)], [0.5, 1.5]), [])


class GrownTests(SynchronousTestCase):
    """Memory over time."""

    def test_flat(self) -> None:
        """It may rise at first, and by a little."""
        self.assertIsNone(grown([20.0] * 25 + [50.0] * 25 + [51.0] * 50))
        self.assertIsNone(grown([1.0]))

    def test_grown(self) -> None:
        """It may not keep rising."""
        self.assertIn("from 50.0 to 60.0", grown([50.0] * 50 + [60.0] * 50) or "")


class SoakTests(SynchronousTestCase):
    """The command."""

    def test_seconds(self) -> None:
        """A run of two seconds with kills and reloads has no faults."""
        command = [sys.executable, "-m", "bench.soak", "--minutes", "0.03", "--clients", "6"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertTrue(re.search(r"^100% .* 0 wrong", done.stdout, re.MULTILINE), done.stdout)
        self.assertTrue(done.stdout.endswith("no faults\n"))

    def test_open(self) -> None:
        """Tunnels that stay open are reopened after kills, and are open at the end."""
        command = [sys.executable, "-m", "bench.soak", "--minutes", "0.03", "--clients", "2", "--open", "10"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertTrue(re.search(r"^\d.* 0 wrong, 10 stay open \([1-9]\d* cut by kills\)", done.stdout, re.MULTILINE))

    def test_files(self) -> None:
        """More open files than this machine allows are refused at once."""
        command = [sys.executable, "-m", "bench.soak", "--open", "900000000"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--open 900000000 needs 1800000304 open files", done.stderr)

    def test_no_such_relay(self) -> None:
        """A run with a relay that does not exist fails."""
        command = [sys.executable, "-m", "bench.soak", "--minutes", "0.01", "--relay", "kernel"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn('relay = "kernel"', done.stderr)
