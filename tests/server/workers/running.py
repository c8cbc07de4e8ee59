"""``twistd sniproxy`` with workers, as real processes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.sockets import TIMEOUT_S
from tests.support.twistdprocess import ENVIRONMENT

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


def held_port(case: TestCase) -> int:
    """A port that is bound without listening, so that workers can share it and no other process gets it."""
    sock = socket.socket()
    case.addCleanup(sock.close)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    return port


def configuration(case: TestCase, text: str = "", workers: int = 2) -> Path:
    """A file with a listener named public on a port of its own, an admin endpoint for each worker, and this text."""
    path = Path(case.mktemp())
    path.write_text(
        f'workers = {workers}\n[[listener]]\nname = "public"\nendpoint = "tcp:{held_port(case)}:interface=127.0.0.1"\n'
        f'[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n{text}'
    )
    return path


class Running:
    """The program, when all of its workers listen.

    @param before: words in front of the command line. @param passed: descriptors that it gets.
    @ivar pids: the workers' processes. @ivar admins: ports of their admin endpoints. Both by index.
    """

    def __init__(self, case: TestCase, path: Path, before: Sequence[str] = (), passed: Sequence[int] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, *TWISTD, "--pidfile=", "-n", "sniproxy", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
            pass_fds=passed,
        )
        case.addCleanup(self._kill)
        self.said = ""
        self.admins: dict[int, int] = {}
        self.wait_for("#info] ready:")
        self.look()

    def look(self) -> None:
        """Read the workers' process ids and admin ports from the log."""
        for index, port in re.findall(r"worker (\d): admin: listening on 127[.]0[.]0[.]1:(\d+)", self.said):
            self.admins[int(index)] = int(port)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.pids = {self._index(int(pid)): int(pid) for pid in children}

    @property
    def port(self) -> int:
        """The address for clients."""
        found = re.search(r"listener public: listening on 127[.]0[.]0[.]1:(\d+)", self.said)
        assert found is not None, self.said
        return int(found[1])

    def status(self, index: int) -> Any:
        """The JSON of a worker's C{/status}."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admins[index]}/status", timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def wait_for(self, text: str) -> None:
        """Read its output up to a line with this text. On a timeout kill it and fail the test."""
        assert self.process.stdout is not None
        watch = threading.Timer(4 * TIMEOUT_S, self.process.kill)
        watch.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if text in line:
                    return
        finally:
            watch.cancel()
        raise AssertionError(f"it ended without saying {text!r}: {self.said}")

    def finish(self, number: int) -> tuple[int, str]:
        """Send a signal and wait for the exit. @return: the exit status and all output."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait(TIMEOUT_S), self.said

    def _index(self, pid: int) -> int:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return int(next(one for one in variables if one.startswith(b"SNIPROXY_WORKER=")).partition(b"=")[2][:1])

    def _kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def exists(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
