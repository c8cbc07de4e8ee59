"""Runs the proxy in a twistd process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S, read_to_end

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-n", "sniproxy")


# A child imports the same sources as this process, whatever the current directory is.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([p or os.getcwd() for p in sys.path]),
    "PYTHONUNBUFFERED": "1",
}


class TwistdProcess:
    """A twistd process, once it listens. @ivar said: its output so far. @ivar address: of its first listener."""

    def __init__(self, case: TestCase, arguments: Sequence[str]) -> None:
        # A shell makes its background jobs ignore SIGINT, and their child processes inherit that.
        self.process = subprocess.Popen(
            [*TWISTD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        case.addCleanup(self._kill)
        self.said = ""
        self.wait_for("ready:")
        found = [line for line in self.said.splitlines() if "listening on" in line]
        assert found, self.said
        host, _, port = found[0].rpartition("listening on ")[2].rpartition(":")
        self.address = (host, int(port))

    def wait_for(self, text: str) -> None:
        """Read its output up to a line with this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"the process ended without a line with {text!r}: {self.said}")

    def refused(self) -> None:
        """Make a connection that the proxy refuses."""
        with socket.create_connection(self.address, timeout=TIMEOUT_S) as client:
            client.sendall(hello(name="nobody.test"))
            read_to_end(client)

    def finish(self, number: int) -> tuple[int, str]:
        """Send a signal and wait for the exit. @return: the exit status and all output."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait(TIMEOUT_S), self.said

    def _kill(self) -> None:
        self.process.kill()
        self.process.communicate()
