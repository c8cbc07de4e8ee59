"""Starts a proxy, ours or another one, and measures its processes."""

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

from bench.childprocess import LoadError
from bench.measure import cpu_seconds, family, proportional
from bench.peer import Peer, Plan

_TIMEOUT_S = 120.0
_POLL_INTERVAL_S = 0.002


class Running:
    """A running peer.

    ``before``: a command that runs the peer's command; ``{folder}`` in it is the
    peer's folder. ``command``: the peer's command. ``main``: the process that was started.
    ``seconds``: from its start until it accepted a connection.
    ``relay``: which of our relays serves; None: it does not say. Raises `LoadError` if it does not listen, or does not
    run as asked.
    """

    def __init__(
        self,
        peer: Peer,
        routes: Mapping[str, int],
        more: Sequence[str] = (),
        workers: int = 1,
        before: Sequence[str] = (),
    ) -> None:
        program = peer.program()
        if program is None:
            raise LoadError(f"not installed: provided by {peer.needs}")
        self._folder = tempfile.TemporaryDirectory()
        self.folder = folder = Path(self._folder.name)
        folder.chmod(0o755)  # for workers with another user
        self.port = free_port()
        self.command = command = peer.start(program, Plan(folder, self.port, routes, more, workers))
        self._said = (folder / "said").open("w+b")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [*(word.format(folder=folder) for word in before), *command],
            cwd=peer.root(),
            env=peer.environment(folder),
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )
        self.main = self._process.pid
        try:
            self._wait(peer.name, "listen", self._listens)
            self.seconds = time.perf_counter() - began
            # A master can listen before its workers have started, and their CPU time counts.
            self._wait(peer.name, "have its processes", lambda: self._has(peer.processes(workers)))
            self._wait(peer.name, "start completely", lambda: peer.ready(folder))
            self.relay = peer.relay(folder)
            if why := peer.lacks(folder):
                raise LoadError(why)
        except LoadError:
            self.stop()
            raise
        self.pids = family(self._process.pid)

    def _wait(self, name: str, what: str, done: Callable[[], bool]) -> None:
        until = time.perf_counter() + _TIMEOUT_S
        while time.perf_counter() < until:
            if self._process.poll() is not None:
                self._said.seek(0)
                last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise LoadError(f"{name} exited with status {self._process.returncode}: {last}")
            if done():
                return
            time.sleep(_POLL_INTERVAL_S)
        raise LoadError(f"{name} did not {what} after {_TIMEOUT_S:.0f} s")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def _has(self, count: int) -> bool:
        try:
            return len(family(self._process.pid)) >= count
        except OSError:  # a process ended meanwhile
            return False

    @property
    def cpu(self) -> float:
        """CPU seconds of its processes."""
        return sum(map(cpu_seconds, self.pids))

    @property
    def memory(self) -> int:
        """Bytes of memory of its processes (PSS)."""
        return proportional(self.pids)

    def stop(self) -> None:
        """Stop all its processes, including those that outlive their parent."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        # The process leads a process group (`start_new_session`).
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()
        self._folder.cleanup()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
