"""Child processes of tests: their output can be awaited, and they end with the test run, even if it is killed."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

TIMEOUT_S = 60.0
"""Seconds to wait for a real program, on a machine that may be busy."""


class ChildError(AssertionError):
    """A child ended, or did not print the expected output. The message has its output."""


class Child:
    """A running command, the lines of whose output (errors too) are kept.

    Its standard input stays open until `stop`. The kernel kills it when the process that started it is gone. It
    inherits the descriptors in `pass_fds`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._argv = list(argv)
        self._lines: list[str] = []
        self._times: list[float] = []
        self._ended = False
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv], cwd=cwd, env=env, text=True, errors="replace",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=pass_fds,
        )  # fmt: skip
        # A thread reads the output, because a child blocks when its pipe is full.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._times.append(time.monotonic())
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def lines(self) -> list[str]:
        """Its output so far."""
        with self._news:
            return list(self._lines)

    @property
    def times(self) -> list[float]:
        """When each of the `lines` was read, in seconds of the monotonic clock."""
        with self._news:
            return list(self._times)

    def write(self, text: str) -> None:
        """Write text to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait_for(self, found: Callable[[list[str]], _T | None], what: str, seconds: float = TIMEOUT_S) -> _T:
        """Wait until `found` returns something other than None and False for the lines so far, and return it.

        Raises ChildError, with `what`, if the output ends or the time passes before.
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
                    # What it repeats would push the reason out of the message.
                    said = [line for line, _ in itertools.groupby(self._lines)][-40:]
                    raise ChildError("\n".join([f"{self._argv[0]}: {what}: {how}; it said", *said]))
                self._news.wait(left)

    def wait_for_text(self, text: str, seconds: float = TIMEOUT_S) -> str:
        """Wait for a line that has the text. Raises ChildError."""
        return self.wait_for(lambda lines: next((line for line in lines if text in line), None), repr(text), seconds)

    def wait(self, seconds: float = TIMEOUT_S) -> int:
        """Wait for its exit and all of its output. Returns the exit status."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self, seconds: float = 10.0) -> None:
        """Close its standard input, terminate it, and kill it if it does not exit. Can be repeated."""
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
        # A grandchild may still hold the other end. The reader then continues, and closing would wait for it.
        self._reader.join(seconds)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()
