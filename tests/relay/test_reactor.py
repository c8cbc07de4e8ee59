"""The reactor for which relays come first; the relay's contract runs in it, in a process of its own."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.relay import poller
from sniproxy.relay.poller import Poller, edge_poller_of
from sniproxy.relay.reactor import OuterSet
from sniproxy.relay.splice import SpliceDirection
from tests.relay import deadlinecontract, pythonrelay
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import TIMEOUT_S, connected, in_thread

ROOT = Path(__file__).parent.parent.parent
INSTALL = "from sniproxy.relay.reactor import install; install(); "
INSIDE = type(reactor).__name__ == "RelayReactor"


def the_reactors_poller(clock: Any) -> Poller:
    """No deadline of the clock that is used in place of the reactor."""
    return edge_poller_of(reactor)


if INSIDE:  # ReactorTests runs it, in the reactor that it is for

    class InsideTests(pythonrelay.PythonRelayContract, deadlinecontract.NotifiedContract):
        """The relay's contract in this reactor."""

        way = SpliceDirection
        poller = staticmethod(the_reactors_poller)


class ReactorTests(TestCase):
    """A process with this reactor."""

    if not poller.available:
        skip = "this system has no epoll"

    async def passes(self, *tests: str) -> None:
        command = [sys.executable, "-c", f"{INSTALL}from twisted.scripts.trial import run; run()"]
        command += [f"--temp-directory={Path(self.mktemp()).absolute()}", *tests]
        ran = await in_thread(lambda command: subprocess.run(command, cwd=ROOT, capture_output=True), command)
        self.assertEqual(0, ran.returncode, ran.stdout[-3000:] + ran.stderr[-2000:])
        self.assertIn(b"PASSED", ran.stdout)

    async def test_contract(self) -> None:
        """The relay's contract holds."""
        await self.passes("tests.relay.test_reactor.InsideTests")

    async def test_others(self) -> None:
        """All other work of the reactor continues: hellos, dials, lookups in threads, closes in order, timeouts."""
        await self.passes("tests.server.test_shutdown.DrainTests", "tests.net.test_closer", "tests.net.test_dialer")


class Echoing:
    """Stands where a relay's side does: each message that it passes on brings the next one."""

    def __init__(self, messages: int) -> None:
        self.far, self.sock = connected()
        self.fd = self.sock.fileno()
        self.left = messages
        self.also: Callable[[], object] = lambda: None
        self.far.send(b"x")

    def ready(self, events: int) -> bool:
        self.sock.recv(1)
        self.left -= 1
        self.far.send(b"x")
        self.also()
        return self.left > 0

    def doRead(self) -> None:
        raise AssertionError("nobody has asked for it")

    def connectionLost(self, reason: Failure) -> None:
        reason.raiseException()


class WaitTests(SynchronousTestCase):
    """How long the set of the relays waits."""

    if not poller.available:
        skip = "this system has no epoll"

    def setUp(self) -> None:
        inner = select.epoll()
        self.addCleanup(inner.close)
        self.others, self.far = socket.socketpair()
        self.addCleanup(self.others.close)
        self.addCleanup(self.far.close)
        inner.register(self.others, select.EPOLLIN)
        self.set = OuterSet(as_reactor(None), inner)

    def echoing(self, messages: int) -> Echoing:
        side = Echoing(messages)
        self.addCleanup(side.far.close)
        self.addCleanup(side.sock.close)
        self.set.watch(side)
        self.addCleanup(self.set.unwatch, side)
        return side

    def test_stays(self) -> None:
        """Messages are passed on in one wait, until something else than that was done."""
        side = self.echoing(3)
        self.assertFalse(self.set.wait(None))
        self.assertEqual(0, side.left)

    def test_time(self) -> None:
        """However many messages come, it waits no longer than it was to."""
        side = self.echoing(1 << 30)
        self.assertFalse(self.set.wait(0))
        self.assertEqual((1 << 30) - 1, side.left)
        self.assertFalse(self.set.wait(0.01))

    def test_others(self) -> None:
        """However many messages come, what is ready in the reactor's own set is not kept waiting."""
        side = self.echoing(1 << 30)
        side.also = lambda: self.far.send(b"x") if side.left == (1 << 30) - 2 else None
        self.assertTrue(self.set.wait(None))


class ClockTests(SynchronousTestCase):
    """Its clock."""

    if not poller.available:
        skip = "this system has no epoll"

    def test_time_of_day_is_set(self) -> None:
        """Whoever sets the time of day, back or forward, what is due comes, and what is not yet due does not."""
        for change in (-3600, 3600):
            program = (
                "import time\n"
                "really, change = time.time, 0\n"
                "time.time = lambda: really() + change\n"
                f"{INSTALL}from twisted.internet import reactor\n"
                "def begin():\n"
                "    global change\n"
                "    reactor.callLater(1800, print, 'too soon')\n"
                "    reactor.callLater(0.01, reactor.callLater, 0.01, reactor.stop)\n"
                f"    change = {change}\n"
                "reactor.callWhenRunning(begin)\n"
                "reactor.run()\n"
                "print('ended')\n"
            )
            ran = subprocess.run(
                [sys.executable, "-c", program],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            self.assertEqual(("ended\n", 0), (ran.stdout, ran.returncode), ran.stderr)


class InstallTests(SynchronousTestCase):
    """When it is taken."""

    if not poller.available:
        skip = "this system has no epoll"

    def reactor_of(self, before: str) -> str:
        program = f"import sys; {before}; {INSTALL}from twisted.internet import reactor; print(type(reactor).__name__)"
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    def test_taken(self) -> None:
        """It is the reactor where none was chosen, also when the command line's modules are loaded."""
        self.assertEqual("RelayReactor", self.reactor_of("import sniproxy.tap"))

    def test_chosen(self) -> None:
        """A reactor that is already installed stays."""
        self.assertEqual(
            "SelectReactor", self.reactor_of("from twisted.internet import selectreactor; selectreactor.install()")
        )

    def test_stops(self) -> None:
        """Relays are notified when it stops, and it opens no set before there are relays."""
        program = (
            f"{INSTALL}from twisted.internet import reactor\n"
            "from sniproxy.relay.poller import edge_poller_of\n"
            "own = edge_poller_of(reactor)\n"
            "assert not own.is_open\n"
            "own.keep_open()\n"
            "own.connectionLost = lambda reason: print('told')\n"
            "reactor.callWhenRunning(lambda: reactor.callInThread(reactor.callFromThread, reactor.stop))\n"
            "reactor.run()\n"
        )
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(("told\n", 0), (ran.stdout, ran.returncode), ran.stderr)
