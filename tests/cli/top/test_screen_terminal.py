"""Tests for sniproxy.cli.top.screen: the program under a pseudo terminal, and the state in which it leaves that."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.support import programs
from tests.support.sockets import TIMEOUT_S
from tests.support.statusfixture import status
from tests.support.statusserver import StatusServer
from tests.support.twistdprocess import ENVIRONMENT

PROGRAM = "import sys; from sniproxy.ctl import main; sys.exit(main())"

LOGIN = "import fcntl, os, sys, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])\n"
"""Makes the terminal that of the session, and runs a command."""

LEAVE = b"\x1b[?1049l"
"""What an xterm gets to leave its alternate screen."""


class TerminalTests(SynchronousTestCase):
    """C{sniproxyctl top} on a terminal."""

    def setUp(self) -> None:
        self.controller, self.terminal = os.openpty()
        self.addCleanup(os.close, self.controller)
        self.addCleanup(os.close, self.terminal)
        self.seen = b""

    def begin(self, **environment: str) -> subprocess.Popen[bytes]:
        url = StatusServer(self, lambda path, query: status()).url
        process: subprocess.Popen[bytes] = programs.start(
            self, [sys.executable, "-c", LOGIN, sys.executable, "-c", PROGRAM, "top", url],
            stdin=self.terminal, stdout=self.terminal, stderr=self.terminal,
            env={**ENVIRONMENT, "TERM": "xterm", **environment},
        )  # fmt: skip
        return process

    def read_until(self, text: bytes) -> None:
        """Read what the program writes up to a text."""
        while text not in self.seen:
            ready, _, _ = select.select([self.controller], [], [], TIMEOUT_S)
            self.assertTrue(ready, self.seen)
            self.seen += os.read(self.controller, 65536)

    def ends(self, end: Callable[[subprocess.Popen[bytes]], object]) -> int:
        """The exit status after this end. Checks that the terminal is as it was."""
        before = termios.tcgetattr(self.terminal)
        process = self.begin()
        self.read_until(b"10.0.0.3:6651")
        self.assertNotEqual(before, termios.tcgetattr(self.terminal))
        self.assertNotIn(LEAVE, self.seen)
        end(process)
        self.read_until(LEAVE)
        found = process.wait(TIMEOUT_S)
        self.assertEqual(before, termios.tcgetattr(self.terminal))
        self.assertNotIn(b"Traceback", self.seen)
        return found

    def test_quit(self) -> None:
        """After q the terminal is as before, and the status 0."""
        self.assertEqual(0, self.ends(lambda process: os.write(self.controller, b"q")))

    def test_interrupt(self) -> None:
        """After Ctrl-C, too; the status is 130."""
        self.assertEqual(130, self.ends(lambda process: os.write(self.controller, b"\x03")))

    def test_terminate(self) -> None:
        """After TERM, too; the status is that of the signal."""
        self.assertEqual(128 + signal.SIGTERM, self.ends(lambda process: process.terminate()))

    def test_unknown_terminal(self) -> None:
        """A terminal that curses does not know gets one line that names what works without."""
        process = self.begin(TERM="no-such-terminal")
        self.read_until(b"status --json")
        self.assertEqual(1, process.wait(TIMEOUT_S))
        self.assertIn(b"unknown terminal 'no-such-terminal'", self.seen)

    def test_colour(self) -> None:
        """What fails is red; with NO_COLOR nothing has a colour."""
        red = b"\x1b[31m"
        for environment, found in (({}, True), ({"NO_COLOR": "1"}, False)):
            self.seen = b""
            process = self.begin(TERM="xterm-256color", **environment)
            self.read_until(b"connection refused")
            process.terminate()
            self.read_until(LEAVE)
            process.wait(TIMEOUT_S)
            self.assertEqual(found, red in self.seen)
