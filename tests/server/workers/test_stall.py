"""Tests for sniproxy.server.workers.stall."""

from __future__ import annotations

import faulthandler
import re
import tempfile
import threading
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers import stall
from sniproxy.server.workers.stall import INTERVAL_S, MAX_FRAMES, StallWatch, where_was


def deep(depth: int, file: Any) -> None:
    """Dump the stacks at a call depth."""
    if depth:
        deep(depth - 1, file)
    else:
        faulthandler.dump_traceback(file)


class WhereWasTests(SynchronousTestCase):
    """where_was."""

    def test_own(self) -> None:
        """The innermost frames come first, up to a bound; frames of other threads are left out."""
        hold = threading.Event()
        thread = threading.Thread(target=hold.wait)
        thread.start()
        with tempfile.TemporaryFile() as file:
            deep(20, file)
            file.seek(0)
            text = "Timeout (0:00:01)!\n" + file.read().decode()
        hold.set()
        thread.join()
        text = text.replace("Current thread", "Thread")
        frames = where_was(text, threading.get_ident()).split(" < ")
        self.assertEqual(MAX_FRAMES, len(frames))
        for frame in frames:
            self.assertRegex(frame, r"^workers/test_stall\.py:\d+ deep$")
        assert thread.ident is not None
        self.assertIn("threading.py", where_was(text, thread.ident))
        self.assertEqual("", where_was(text, 1))
        self.assertEqual("", where_was("", 1))


class StallWatchTests(SynchronousTestCase):
    """StallWatch."""

    def said(self, clock: Clock, seconds: float) -> list[str]:
        with capturedLogs() as logs:
            clock.advance(seconds)
        return [str(formatEvent(event)) for event in logs]

    def watch(self) -> Clock:
        clock = Clock()
        watch = StallWatch(clock)
        watch.start()
        self.addCleanup(lambda: self.assertEqual([], clock.getDelayedCalls()))
        self.addCleanup(watch.stop)
        self.watched = watch
        return clock

    def test_turns(self) -> None:
        """A loop that is on time, or a little late, is not logged."""
        clock = self.watch()
        for _ in range(9):
            self.assertEqual([], self.said(clock, INTERVAL_S + 0.9))

    def test_blocked(self) -> None:
        """Each block of over a second is logged with its duration."""
        clock = self.watch()
        for _ in range(2):
            self.assertEqual(["event loop blocked for 3.2 s"], self.said(clock, INTERVAL_S + 3.2))
            self.assertEqual([], self.said(clock, INTERVAL_S))

    def test_where(self) -> None:
        """The log has the stack, even of code that holds the GIL."""
        self.patch(stall, "STALL_S", -INTERVAL_S + 0.01)  # the stack is written after 10 ms
        clock = self.watch()
        assert self.watched._stacks is not None
        expression = re.compile("(?:a|a)+b")
        length = 8
        while not self.watched._stacks.seek(0, 2):  # the matches take longer and longer
            expression.fullmatch("a" * length)
            length += 1
        (said,) = self.said(clock, INTERVAL_S + 2)
        self.assertRegex(said, r"^event loop blocked for 2\.0 s, in (re/|workers/test_stall\.py:\d+ test_where)")
        self.assertIn("test_where", said)

    def test_no_folder(self) -> None:
        """Without a temporary folder it logs no stack."""

        def refuse() -> None:
            raise OSError

        self.patch(tempfile, "TemporaryFile", refuse)
        clock = self.watch()
        self.assertEqual(["event loop blocked for 3.2 s"], self.said(clock, INTERVAL_S + 3.2))

    def test_not_started(self) -> None:
        """It may be stopped before it was started."""
        StallWatch(Clock()).stop()
