"""Tests for sniproxy.server.workers.takeover."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers import takeover
from sniproxy.server.workers.handover import BadHandover, encode
from sniproxy.server.workers.takeover import STATE, Takeover, received, unblock
from tests.server.workers.handovers import TEXT, admin_state, handover
from tests.support.sockets import TIMEOUT_S


class ReceivedTests(SynchronousTestCase):
    """received."""

    def number(self, data: bytes) -> int:
        """The descriptor of a file with these bytes, at its end."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return os.dup(file.fileno())

    def test_none(self) -> None:
        """An ordinary start."""
        self.assertIsNone(received({}))

    def test_read(self) -> None:
        """The document is read and closed, once; its text is the configuration that is read first."""
        number = self.number(encode(handover()))
        environment = {STATE: str(number)}
        found = received(environment)
        assert found is not None
        self.assertEqual((handover(), {}), (found.handover, environment))
        self.assertRaises(OSError, os.fstat, number)
        self.assertEqual([TEXT, None], [found.take_text(), found.take_text()])
        found.answer()  # to nothing

    def test_check(self) -> None:
        """A check answers."""
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        found = received({STATE: f"{self.number(encode(handover()))}:{writes}"})
        assert found is not None
        found.answer()
        os.close(writes)
        self.assertEqual(b"ok\n", os.read(reads, 16))

    def test_bad(self) -> None:
        """A user has set the variable, or the document is another's."""
        for value in ("x", "100000", f"{self.number(encode(handover()))}:x"):
            self.assertIn("unset it", str(self.assertRaises(BadHandover, received, {STATE: value})))
        self.assertIn("not the state", str(self.assertRaises(BadHandover, received, {STATE: str(self.number(b"x"))})))


class TakeoverTests(SynchronousTestCase):
    """Takeover."""

    def test_adjust(self) -> None:
        """Twistd does not become a daemon, and does not write the pid file, which it removes at the end."""
        twistd: dict[str, Any] = {"nodaemon": False, "pidfile": "/run/x.pid"}
        found = Takeover(handover(pid_file="/run/x.pid", admin=admin_state()), None)
        found.adjust(twistd)
        self.assertEqual({"nodaemon": True, "pidfile": ""}, twistd)
        found.finish(twistd)
        self.assertEqual("/run/x.pid", twistd["pidfile"])

    def test_finish(self) -> None:
        """The log has the result, and the clients that wait for it; one that has left is ignored."""
        self.patch(takeover, "monotonic", lambda: 2.5)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.settimeout(TIMEOUT_S)
        left, gone = socket.socketpair()
        left.close()
        with capturedLogs() as logs:
            answers = (theirs.detach(), gone.detach())
            Takeover(handover(admin=admin_state(answers=answers)), None).finish(None)
        said = "upgrade: replaced 2 workers and the supervisor: 6 tunnels moved"
        self.assertEqual([said], [formatEvent(one) for one in logs])
        with ours.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(f"\r\nContent-Length: {len(body)}\r\n".encode(), head)
        pid = os.getpid()
        self.assertEqual({"pid": pid, "old_pid": pid, "moved": 6, "stayed": 1, "seconds": 2.0}, json.loads(body))

    def test_unblock(self) -> None:
        """Signals that wait are handled."""
        got: list[int] = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        self.assertEqual([], got)
        unblock()
        self.assertEqual([signal.SIGUSR1], got)
