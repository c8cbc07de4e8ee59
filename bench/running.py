"""A proxy that is measured while it runs, in processes of its own, whoever wrote it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.apart import LoadError
from bench.measure import cpu_seconds, family, proportional
from bench.peers import Peer, Plan

_PATIENCE = 120.0
_LOOK = 0.002


class Running:
    """A peer that listens, started in the folder ``root``.

    ``seconds``: from its start until a connection to it was taken. Raises `LoadError` when it does not come to that,
    or is not what was asked for.
    """

    def __init__(
        self, peer: Peer, routes: Mapping[str, int], root: Path, more: Sequence[str] = (), workers: int = 1
    ) -> None:
        program = peer.program()
        if program is None:
            raise LoadError(f"not here: {peer.needs} has it")
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        folder.chmod(0o755)  # for a worker of another user
        self.port = _free_port()
        command = peer.start(program, Plan(folder, self.port, routes, more, workers))
        self._said = (folder / "said").open("w+b")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=root, stdout=self._said, stderr=self._said, start_new_session=True
        )
        try:
            self._wait(peer.name, "listen", self._listens)
            self.seconds = time.perf_counter() - began
            # A master listens before its workers are there; their CPU time is what is asked for.
            self._wait(peer.name, "have its processes", lambda: self._has(peer.processes(workers)))
            if why := peer.lacks(folder):
                raise LoadError(why)
        except LoadError:
            self.stop()
            raise
        self.pids = family(self._process.pid)

    def _wait(self, name: str, what: str, done: Callable[[], bool]) -> None:
        until = time.perf_counter() + _PATIENCE
        while time.perf_counter() < until:
            if self._process.poll() is not None:
                self._said.seek(0)
                last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise LoadError(f"{name} ended with status {self._process.returncode}: {last}")
            if done():
                return
            time.sleep(_LOOK)
        raise LoadError(f"{name} does not {what} after {_PATIENCE:.0f} s")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def _has(self, count: int) -> bool:
        try:
            return len(family(self._process.pid)) >= count
        except OSError:  # one of them came and went meanwhile
            return False

    @property
    def cpu(self) -> float:
        """CPU seconds of its processes."""
        return sum(map(cpu_seconds, self.pids))

    @property
    def memory(self) -> int:
        """Bytes of its processes (PSS)."""
        return proportional(self.pids)

    def stop(self) -> None:
        """End it with all its processes, also those that outlive their parent."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        # The process leads a group of its own (`start_new_session`).
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()
        self._folder.cleanup()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
