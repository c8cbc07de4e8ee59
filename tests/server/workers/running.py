"""``twistd sniproxy`` with workers, as real processes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support import programs
from tests.support.sockets import TIMEOUT_S
from tests.support.twistdprocess import ENVIRONMENT

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


def held_port(case: TestCase, option: int = socket.SO_REUSEPORT) -> int:
    """A port that is bound without listening, so that workers can share it and no other process gets it.

    @param option: C{SO_REUSEADDR}: one process may listen on it.
    """
    sock = socket.socket()
    case.addCleanup(sock.close)
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    return port


def configuration(case: TestCase, text: str = "", workers: int = 2) -> Path:
    """A file with a listener named public on a port of its own, an admin endpoint, and this text."""
    path = Path(case.mktemp())
    path.write_text(
        f'workers = {workers}\n[[listener]]\nname = "public"\nendpoint = "tcp:{held_port(case)}:interface=127.0.0.1"\n'
        f'[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n{text}'
    )
    return path


class Running:
    """The program, when all of its workers listen.

    @param before: words in front of the command line. @param passed: descriptors that it gets.
    @ivar pids: the workers' processes, by index.
    """

    def __init__(self, case: TestCase, path: Path, before: Sequence[str] = (), passed: Sequence[int] = ()) -> None:
        self.process: subprocess.Popen[str] = programs.start(
            case,
            [*before, *TWISTD, "--pidfile=", "-n", "sniproxy", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
            pass_fds=passed,
        )
        self.said = ""
        self.wait_for("#info] ready:")
        self.look()

    def look(self) -> None:
        """Look the workers' process ids up."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.pids = {self._index(int(pid)): int(pid) for pid in children}

    @property
    def port(self) -> int:
        """The address for clients."""
        found = re.search(r"listener public: listening on 127[.]0[.]0[.]1:(\d+)", self.said)
        assert found is not None, self.said
        return int(found[1])

    @property
    def admin(self) -> str:
        """Host and port of the admin endpoint."""
        found = re.findall(r"#info\] admin: listening on (127[.]0[.]0[.]1:\d+)", self.said)
        assert found, self.said
        return str(found[-1])

    def ask(self, path: str, method: str = "GET", token: str = "") -> bytes:
        """The answer of the admin endpoint. @param token: for a change."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://{self.admin}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: bytes = answer.read()
        return found

    def status(self) -> Any:
        """The JSON of C{/status}."""
        return json.loads(self.ask("/status"))

    def wait_for(self, text: str) -> None:
        """Read its output up to a line with this text. On a timeout kill it and fail the test."""
        self.said += programs.read_until(self.process, text)

    def finish(self, number: int) -> tuple[int, str]:
        """Send a signal and wait for the exit. @return: the exit status and all output."""
        status, rest = programs.finish(self.process, number)
        self.said += rest
        return status, self.said

    def _index(self, pid: int) -> int:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return int(next(one for one in variables if one.startswith(b"SNIPROXY_WORKER=")).partition(b"=")[2][:1])


def exists(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
