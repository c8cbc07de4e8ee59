"""Tests for sniproxy.testing.pulsar.threads."""

from __future__ import annotations

import gc
import os
import threading

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python import threadable
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.testing.pulsar.threads import ReactorThread, Runner, in_reactor


class Counter:
    """An object whose method runs in the reactor's thread."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @in_reactor
    def where(self, text: str, *, more: str = "") -> tuple[str, threading.Thread]:
        """Say where it runs."""
        return text + more, threading.current_thread()

    @in_reactor
    def twice(self) -> list[threading.Thread]:
        """Call another such method."""
        return [self.where("")[1], threading.current_thread()]


class RunnerTests(SynchronousTestCase):
    """Runner: the caller's thread is the reactor's."""

    def test_run(self) -> None:
        """A method runs at once; one that would block is an error."""
        self.assertEqual(("ab", threading.current_thread()), Counter(Runner()).where("a", more="b"))
        self.assertRaises(RuntimeError, Runner().wait, lambda: succeed(1), 1.0)


class ReactorThreadTests(SynchronousTestCase):
    """ReactorThread."""

    def thread(self) -> ReactorThread:
        thread = ReactorThread()
        self.addCleanup(thread.stop)
        return thread

    def test_run(self) -> None:
        """A method runs in the reactor's thread, also one that calls another, and its result is returned."""
        counter = Counter(self.thread())
        text, thread = counter.where("a", more="b")
        self.assertEqual("ab", text)
        self.assertIsNot(threading.current_thread(), thread)
        self.assertEqual([thread] * 2, counter.twice())

    def test_error(self) -> None:
        """An exception in the reactor's thread is raised by the call."""
        self.assertRaises(ZeroDivisionError, self.thread().run, lambda: 1 / 0)

    def test_wait(self) -> None:
        """The result of a Deferred is waited for, and its failure is raised."""
        thread = self.thread()
        later: Deferred[int] = Deferred()
        thread.reactor.callFromThread(thread.reactor.callLater, 0, later.callback, 7)
        self.assertEqual(7, thread.wait(lambda: later, 60.0))
        self.assertRaises(ValueError, thread.wait, lambda: fail(ValueError()), 60.0)

    def test_wait_in_the_reactor(self) -> None:
        """The reactor's own thread cannot wait."""
        thread = self.thread()
        self.assertRaises(RuntimeError, thread.run, lambda: thread.wait(lambda: succeed(1), 60.0))

    def test_timeout(self) -> None:
        """A Deferred that does not fire in time is cancelled."""
        cancelled = threading.Event()
        waiting: Deferred[int] = Deferred(lambda _: cancelled.set())
        self.assertRaises(TimeoutError, self.thread().wait, lambda: waiting, 0.0)
        self.assertTrue(cancelled.wait(60))

    def test_stop(self) -> None:
        """A stopped thread leaves no descriptor and no thread, and does not change Twisted's own I/O thread."""
        before = set(threading.enumerate())
        gc.collect()
        files = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            thread = ReactorThread()
            self.assertNotEqual(threadable.ioThread, thread.run(threading.get_ident))
            thread.stop()
            thread.stop()
        self.assertEqual(before, set(threading.enumerate()))
        self.assertEqual(files, len(os.listdir("/proc/self/fd")))
