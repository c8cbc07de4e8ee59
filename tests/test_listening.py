"""Tests for sniproxy.listening."""

from __future__ import annotations

import os
import resource
import socket

from twisted.internet.error import CannotListenError

from sniproxy.listening import raise_descriptor_limit, why_not_listening
from tests.net.support import SocketTestCase, in_thread
from tests.proxies import LISTENER, Proxy
from tests.test_conversation import route


class StartTests(SocketTestCase):
    """What stands in the way of listening."""

    async def test_busy_port(self) -> None:
        """A busy port is an error that says who holds it; nothing listens then."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            text = LISTENER + f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n' + route("127.0.0.1:9")
            error = self.assertRaises(CannotListenError, Proxy, self, text)
            message = why_not_listening(error)
        self.assertIn(f"cannot listen on 127.0.0.1 port {port}: Address already in use", message)
        self.assertIn(f"it is held by pid {os.getpid()}", message)
        await in_thread(int)  # the first listener is closed in the reactor's next round

    def test_not_a_socket(self) -> None:
        """An endpoint that gives no listening socket is refused in words."""
        error = CannotListenError("weird:1", None, ValueError("no socket"))
        self.assertEqual("cannot listen on weird:1: no socket", why_not_listening(error))

    def test_privileged_port(self) -> None:
        """A port that one may not listen on, with the privilege that is missing."""
        error = CannotListenError("127.0.0.1", 1, PermissionError(13, "Permission denied"))
        self.assertEqual(
            "cannot listen on 127.0.0.1 port 1: Permission denied; "
            "ports below 1024 need a privilege: CAP_NET_BIND_SERVICE",
            why_not_listening(error),
        )

    def test_descriptor_limit(self) -> None:
        """The soft limit is raised to the hard one."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        self.assertEqual(before[1], raise_descriptor_limit())
        self.assertEqual((before[1], before[1]), resource.getrlimit(resource.RLIMIT_NOFILE))
