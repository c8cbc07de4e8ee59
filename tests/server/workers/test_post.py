"""Tests for sniproxy.server.workers.post."""

from __future__ import annotations

import os
import tempfile

from twisted.internet.defer import Deferred

from sniproxy.server.workers.post import READY, RELOAD, STOP, encode_order, environment_of, from_environment
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class PostTests(SocketTestCase):
    """A worker's end of the pipes."""

    def test_nobody(self) -> None:
        """Without a supervisor there is no link."""
        self.assertIsNone(from_environment({}))

    async def test_whole(self) -> None:
        """It has its index and text, is returned once, receives orders, reports, and stops with its supervisor."""
        text = "workers = 2\n" + "# \xe4\n" * 100_000
        orders, told = os.pipe()
        heard, reports = os.pipe()
        with tempfile.TemporaryFile() as file:
            file.write(text.encode())
            file.flush()
            environment = {"HOME": "/", **environment_of(7, os.dup(file.fileno()), orders, reports)}
        post = from_environment(environment)
        assert post is not None
        self.assertEqual(({"HOME": "/"}, 7, text), (environment, post.index, post.text))
        stopped: Deferred[None] = Deferred()
        obeyed = []

        def obey(what: str, text: str) -> None:
            obeyed.append((what, text))
            if what == STOP:
                stopped.callback(None)

        post.receive_orders(reactor, obey)
        post.report(READY)
        self.assertEqual(b"ready\n", os.read(heard, 100))
        os.close(heard)
        post.report(READY)  # nobody listens any longer
        for byte in encode_order(RELOAD, "a\nb"):
            os.write(told, bytes([byte]))
        os.close(told)
        await stopped
        self.assertEqual([(RELOAD, "a\nb"), (STOP, "")], obeyed)
        obeyed.clear()
        stopped = Deferred()
        post.receive_orders(reactor, obey)  # it ended before
        self.assertEqual([(STOP, "")], obeyed)
        os.close(orders)
        os.close(reports)
