"""Runs the proxy in a twistd process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from twisted.trial.unittest import TestCase

from tests.support import programs
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
    """A twistd process, once it listens. @ivar said: its output so far. @ivar address: of its first listener.

    @param environment: more environment variables.
    """

    def __init__(self, case: TestCase, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.process: subprocess.Popen[str] = programs.start(
            case, [*programs.DEFAULT_SIGINT, *TWISTD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**ENVIRONMENT, **(environment or {})},
        )  # fmt: skip
        self.said = ""
        self.wait_for("ready:")
        found = [line for line in self.said.splitlines() if "listening on" in line]
        assert found, self.said
        host, _, port = found[0].rpartition("listening on ")[2].rpartition(":")
        self.address = (host, int(port))

    def wait_for(self, text: str) -> None:
        """Read its output up to a line with this text."""
        self.said += programs.read_until(self.process, text)

    def refused(self) -> None:
        """Make a connection that the proxy refuses."""
        with socket.create_connection(self.address, timeout=TIMEOUT_S) as client:
            client.sendall(hello(name="nobody.test"))
            read_to_end(client)

    def finish(self, number: int) -> tuple[int, str]:
        """Send a signal and wait for the exit. @return: the exit status and all output."""
        status, rest = programs.finish(self.process, number)
        self.said += rest
        return status, self.said
