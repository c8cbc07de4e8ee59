"""Functions in daemon threads."""

from __future__ import annotations

import threading

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from sniproxy.net.daemonthread import in_daemon_thread
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, in_thread


class DaemonThreadTests(TestCase):
    """in_daemon_thread."""

    timeout = 120

    async def test_result(self) -> None:
        """The Deferred fires with the result; the thread is a daemon, outside the pool."""
        thread = await in_daemon_thread(reactor, threading.current_thread)
        self.assertTrue(thread.daemon)
        self.assertNotIn(thread, reactor.getThreadPool().threads)

    async def test_failure(self) -> None:
        """The Deferred fails with the exception."""

        def work() -> None:
            raise ValueError("no")

        await self.assertFailure(in_daemon_thread(reactor, work), ValueError)

    async def test_cancelled(self) -> None:
        """A cancellation does not wait for the thread, whose late result is dropped."""
        done = threading.Event()
        working = in_daemon_thread(reactor, lambda: done.wait(TIMEOUT_S))
        working.cancel()
        await self.assertFailure(working, CancelledError)
        done.set()
        await in_thread(int)

    async def test_no_thread(self) -> None:
        """If no thread can be started, the Deferred fails."""

        def none_left(*args: object) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", none_left)
        await self.assertFailure(in_daemon_thread(reactor, int), RuntimeError)
