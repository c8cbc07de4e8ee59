"""Starts `sniproxyctl record` and `sniproxyctl replay`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.children import TIMEOUT_S, Child

PROGRAM = str(Path(sys.executable).with_name("sniproxyctl"))

ANNOUNCED = re.compile(r" at (pulsar://[\d.]+:\d+)")


def start(case: SynchronousTestCase, *words: str) -> tuple[Child, str]:
    """Start sniproxyctl, until the test ends. Returns the process, and the first URL that it announces."""
    child = Child([PROGRAM, *words])
    case.addCleanup(child.stop)
    found = child.wait_for(lambda lines: ANNOUNCED.search("\n".join(lines)), "listening", TIMEOUT_S)
    return child, found[1]


def play_client(case: SynchronousTestCase, file: str, address: str) -> list[str]:
    """Play a recorded client to a broker, with no difference. Returns what is printed."""
    child = Child([PROGRAM, "replay", "--as", "client", file, "--connect", address, "--timeout", "30"])
    case.addCleanup(child.stop)
    case.assertEqual(0, child.wait(TIMEOUT_S), child.lines)
    return child.lines
