"""Tests for sniproxy.server.sdnotify."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.sdnotify import STATUS_INTERVAL_S, ServiceManager, from_environment
from tests.support.sockets import TIMEOUT_S


class NotifyCase(SynchronousTestCase):
    """A service manager's socket, as a path or in the abstract namespace."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.status = "0 tunnels"
        folder = tempfile.mkdtemp()  # short, as a socket's path must be
        self.address = f"{folder}/notify"
        self.sock = self.bound(self.address)

        def remove() -> None:
            os.unlink(self.address)
            os.rmdir(folder)

        self.addCleanup(remove)

    def bound(self, address: str) -> socket.socket:
        """A socket at an address."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.settimeout(TIMEOUT_S)
        sock.bind(address)
        return sock

    def manager(self, watchdog_s: float | None = None, address: str = "") -> ServiceManager:
        return ServiceManager(self.clock, address or self.address, watchdog_s, lambda: self.status)

    def received(self) -> list[str]:
        """The lines of the next message."""
        return self.sock.recv(4096).decode().split("\n")

    def nothing(self) -> None:
        """Assert that no message waits."""
        self.sock.setblocking(False)
        self.assertRaises(BlockingIOError, self.sock.recv, 1)
        self.sock.settimeout(TIMEOUT_S)


class ServiceManagerTests(NotifyCase):
    """The messages."""

    def test_ready(self) -> None:
        """The main process may be another one than the one that was started."""
        self.manager().ready()
        self.assertEqual(["READY=1", f"MAINPID={os.getpid()}", "STATUS=0 tunnels"], self.received())

    def test_status(self) -> None:
        """The status is sent when it has changed, and not more often than its interval; the first one, twice."""
        manager = self.manager()
        manager.ready()
        self.received()
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(["STATUS=0 tunnels"], self.received())
        self.clock.advance(STATUS_INTERVAL_S)
        self.nothing()
        self.status = "2 tunnels,\none target down"
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(["STATUS=2 tunnels,\\none target down"], self.received())
        manager.stop(None)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_watchdog(self) -> None:
        """The watchdog is fed twice in its time, also while the program drains, until the reactor ends."""
        manager = self.manager(2.0)
        manager.ready()
        self.received()
        for more in (["STATUS=0 tunnels"], [], []):
            self.clock.advance(1.0)
            self.assertEqual(["WATCHDOG=1", *more], self.received())
        manager.stopping()
        self.assertEqual(["STOPPING=1", "STATUS=draining"], self.received())
        self.clock.advance(1.0)
        self.assertEqual(["WATCHDOG=1"], self.received())
        manager.stop(None)
        manager.stop(None)
        self.clock.advance(9.0)
        self.nothing()

    def test_reload(self) -> None:
        """A reload begins with the time by the monotonic clock, and ends ready, with the reason if it failed."""
        manager = self.manager()
        for why, status in ((None, "0 tunnels"), ("x.toml: a: b", "reload failed, keeping the current configuration: "
                                                  "x.toml: a: b")):  # fmt: skip
            manager.reloading()
            first, second = self.received()
            self.assertEqual("RELOADING=1", first)
            self.assertTrue(second.removeprefix("MONOTONIC_USEC=").isdigit(), second)
            manager.reloaded(why)
            self.assertEqual(["READY=1", f"STATUS={status}"], self.received())

    def test_abstract(self) -> None:
        """A name in the abstract namespace begins with an at sign."""
        name = f"sniproxy-test-{os.getpid()}"
        self.sock = self.bound(f"\0{name}")
        self.manager(address=f"@{name}").stopping()
        self.assertEqual("STOPPING=1", self.received()[0])

    def test_hand_over(self) -> None:
        """The next main process is named, then this one reports no more."""
        manager = self.manager(2.0)
        manager.ready()
        self.received()
        manager.hand_over(77)
        self.assertEqual(["MAINPID=77"], self.received())
        self.clock.advance(9.0)
        self.nothing()

    def test_environment(self) -> None:
        """A process that takes over finds the same service manager, with the watchdog if there is one."""
        self.assertEqual({"NOTIFY_SOCKET": self.address}, self.manager().environment)
        variables = self.manager(2.5, "@name").environment
        self.assertEqual({"NOTIFY_SOCKET": "@name", "WATCHDOG_USEC": "2500000"}, variables)
        again = from_environment(variables, 7, self.clock, lambda: self.status)
        assert again is not None
        self.assertEqual("2500000", again.environment["WATCHDOG_USEC"])

    def test_ready_again(self) -> None:
        """The status is repeated: in an upgrade, the first report may come before the process is the main one."""
        manager = self.manager()
        manager.ready()
        self.received()
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(["STATUS=0 tunnels"], self.received())
        manager.ready()
        self.received()
        manager.stop(None)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nobody(self) -> None:
        """A service manager that is gone is no error."""
        self.manager(address="/nonexistent/notify").ready()
        self.nothing()


class EnvironmentTests(NotifyCase):
    """from_environment."""

    def made(self, **environment: str) -> ServiceManager | None:
        found = from_environment(environment, 7, self.clock, lambda: self.status)
        self.assertEqual({}, environment)
        return found

    def test_none(self) -> None:
        """Without a socket there is no service manager."""
        for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:1:2"}, {"WATCHDOG_USEC": "1"}):
            self.assertIsNone(self.made(**environment))

    def test_watchdog(self) -> None:
        """Microseconds; a watchdog of another process, or a wrong value, is none."""
        for usec, pid, fed in (("2000000", "7", True), ("2000000", "8", False), ("x", "7", False), ("0", "7", False)):
            manager = self.made(NOTIFY_SOCKET=self.address, WATCHDOG_USEC=usec, WATCHDOG_PID=pid)
            assert manager is not None
            manager.ready()
            self.received()
            self.clock.advance(1.0)
            if fed:
                self.assertEqual(["WATCHDOG=1", "STATUS=0 tunnels"], self.received())
            self.nothing()
            manager.stop(None)
