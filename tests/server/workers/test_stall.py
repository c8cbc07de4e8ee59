"""Tests for sniproxy.server.workers.stall."""

from __future__ import annotations

import re
import sys

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers import stall
from sniproxy.server.workers.stall import INTERVAL_S, MAX_FRAMES, StallWatch, where


def deep(depth: int) -> str:
    """The stack at a call depth."""
    return deep(depth - 1) if depth else where(sys._getframe())


class WhereTests(SynchronousTestCase):
    """where."""

    def test_own(self) -> None:
        """The innermost frames come first, up to a bound."""
        frames = deep(20).split(" < ")
        self.assertEqual(MAX_FRAMES, len(frames))
        for frame in frames:
            self.assertRegex(frame, r"^workers/test_stall\.py:\d+ deep$")

    def test_none(self) -> None:
        """A thread that has ended has no stack."""
        self.assertEqual("", where(None))


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
        """The log has the stack, even of code that held the GIL."""
        expression = re.compile("(?:a|a)+b")
        self.patch(stall, "STALL_S", -INTERVAL_S + 0.01)  # the thread looks after 10 ms
        said = ""
        while "test_where" not in said.partition(" < ")[0]:  # a slow machine may be in the start of the watch still
            clock = self.watch()
            assert self.watched._looker is not None
            length = 8
            while not self.watched._looker._where:  # the matches take longer and longer
                expression.fullmatch("a" * length)
                length += 1
            (said,) = self.said(clock, INTERVAL_S + 2)
            self.watched.stop()
        self.assertRegex(said, r"^event loop blocked for 2\.0 s, in workers/test_stall\.py:\d+ test_where < ")

    def test_once(self) -> None:
        """The stack of one block is not that of the next; the thread looks once at each."""
        clock = self.watch()
        assert self.watched._looker is not None
        self.watched._looker._where = "a.py:1 f"
        self.assertEqual(["event loop blocked for 3.2 s, in a.py:1 f"], self.said(clock, INTERVAL_S + 3.2))
        self.assertEqual(["event loop blocked for 3.2 s"], self.said(clock, INTERVAL_S + 3.2))

    def test_stop(self) -> None:
        """The thread ends, also while the loop is blocked."""
        self.patch(stall, "STALL_S", -INTERVAL_S + 0.001)
        self.watch()
        looker = self.watched._looker
        assert looker is not None
        while not looker._where:
            looker.join(0.001)
        self.watched.stop()
        self.assertFalse(looker.is_alive())

    def test_not_started(self) -> None:
        """It may be stopped before it was started."""
        StallWatch(Clock()).stop()
