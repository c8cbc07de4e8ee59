"""Resolvers that keep Python busy."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import busy
from bench.busy import BusyResolver, install
from sniproxy.interfaces import Refused, Request

REQUEST = Request(busy.BLOCKS, (), "192.0.2.7:50123", "clients")


class BusyTests(SynchronousTestCase):
    """Work, then refuse."""

    def test_refuses(self) -> None:
        """The work is done before the client is refused."""
        done: list[int] = []
        error = self.assertRaises(Refused, BusyResolver(lambda: done.append(1)).resolve, REQUEST)
        self.assertEqual((done, error.ttl), ([1], 0))

    def test_kinds(self) -> None:
        """One blocks for a second, one collects garbage."""
        slept: list[float] = []
        self.patch(time, "sleep", slept.append)
        self.assertRaises(Refused, busy.make_blocking({}, None).resolve, REQUEST)
        self.assertEqual(slept, [busy.BLOCKED_S])
        before = gc.get_stats()[2]["collections"]
        self.assertRaises(Refused, busy.make_collecting({}, None).resolve, REQUEST)
        self.assertGreater(gc.get_stats()[2]["collections"], before)

    def test_install(self) -> None:
        """The plugin is this file, under the name that its makers have."""
        folder = Path(self.mktemp())
        install(folder)
        (plugin,) = (folder / "twisted" / "plugins").iterdir()
        self.assertEqual(plugin.read_text(), Path(busy.__file__).read_text())
        for maker in (busy.blocking, busy.collecting):
            self.assertTrue(maker.factory.startswith(f"twisted.plugins.{plugin.stem}."))
            self.assertTrue(hasattr(busy, maker.factory.rpartition(".")[2]))
