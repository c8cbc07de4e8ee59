"""Processes that a test starts: their output can be waited for, and they end with the test run, however it ends."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

TIMEOUT_S = 60.0
"""Seconds that a real program has, on a machine that may be busy, before the test fails."""


class ChildError(AssertionError):
    """A child ended, or kept silent, instead of doing what was waited for; says what it had printed."""


class Child:
    """A running command, the lines of whose output (errors too) are kept.

    Its standard input stays open until `stop`. The kernel kills it when the process that started it is gone.
    """

    def __init__(self, argv: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self._argv = list(argv)
        self._lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv], cwd=cwd, env=env, text=True, errors="replace",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        # A thread, because a child whose output nobody reads stands still when the pipe is full.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def lines(self) -> list[str]:
        """What it has printed so far."""
        with self._news:
            return list(self._lines)

    def write(self, text: str) -> None:
        """Gives it the text on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait_for(self, found: Callable[[list[str]], _T | None], what: str, seconds: float = TIMEOUT_S) -> _T:
        """The first answer other than None (and False) that `found` gives about the lines so far.

        Raises ChildError, naming `what`, when the output ends or the seconds have passed before.
        """
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                answer = found(self._lines)
                if answer is not None and answer is not False:
                    return answer
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    how = "its output ended" if self._ended else f"not within {seconds:.0f} s"
                    raise ChildError("\n".join([f"{self._argv[0]}: {what}: {how}; it said", *self._lines[-40:]]))
                self._news.wait(left)

    def wait_for_text(self, text: str, seconds: float = TIMEOUT_S) -> str:
        """The first line that has the text in it. Raises ChildError."""
        return self.wait_for(lambda lines: next((line for line in lines if text in line), None), repr(text), seconds)

    def wait(self, seconds: float = TIMEOUT_S) -> int:
        """Its exit status, after it has ended by itself and all of its output was read."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self, seconds: float = 10.0) -> None:
        """Closes its standard input, asks it to end, and kills it if it does not; again is no harm."""
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # A child of the child may still hold the other end; then the reader stays, and closing would wait for it.
        self._reader.join(seconds)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()
