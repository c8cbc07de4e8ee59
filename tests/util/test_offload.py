"""Tests for sniproxy.util.offload."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sniproxy.util.offload import FREED, at_once, finish, free, in_reactor_thread, in_thread
from tests.support.reactor import reactor


def here() -> threading.Thread:
    return threading.current_thread()


def fail() -> None:
    raise ValueError("why")


class OffloadTests(TestCase):
    """Work in a thread, or at once."""

    async def test_thread(self) -> None:
        """The work runs in a daemon thread; its value and its error come back in the reactor's."""
        offload = in_thread(reactor)
        thread = await offload(here)
        self.assertIsNot(here(), thread)
        self.assertTrue(thread.daemon)
        with self.assertRaisesRegex(ValueError, "why"):
            await offload(fail)
        self.assertIs(threading.main_thread(), here())

    def test_at_once(self) -> None:
        """A coroutine that only works at once ends at once, with its value or its error."""

        async def two(work: Callable[[], Any]) -> tuple[Any, Any]:
            return await at_once(here), await at_once(work)

        self.assertEqual((here(), 1), finish(two(lambda: 1)))
        self.assertRaises(ValueError, finish, two(fail))

    def test_waits(self) -> None:
        """A coroutine that waits cannot be finished."""

        async def wait() -> None:
            await Deferred()

        self.assertRaises(RuntimeError, finish, wait())

    async def test_back(self) -> None:
        """Work in a thread can have a part that runs in the reactor's thread."""
        self.assertIs(here(), in_reactor_thread(reactor, here))
        self.assertIs(here(), await in_thread(reactor)(lambda: in_reactor_thread(reactor, here)))

    def test_free(self) -> None:
        """All objects of a list are dropped, a slice at a time."""
        left: list[int] = []

        class Noted:
            def __del__(self) -> None:
                left.append(len(objects))

        objects: list[object] = [Noted() for _ in range(2 * FREED + 1)]
        free(objects)
        self.assertEqual((2 * FREED + 1, []), (len(left), objects))
        self.assertEqual([FREED + 1, 1, 0], sorted(set(left), reverse=True))
