"""The reactor for which relays come first; the relay's contract runs in it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.net import poller
from sniproxy.net.poller import Poller, edge_poller_of
from sniproxy.net.splicing import SpliceDirection
from tests.net import relaycontract
from tests.net.support import in_thread

ROOT = Path(__file__).parent.parent.parent
INSTALL = "from sniproxy.net.relayreactor import install; install(); "
INSIDE = type(reactor).__name__ == "RelayReactor"


def the_reactors_poller(clock: Any) -> Poller:
    """Not one for the clock that stands before the reactor."""
    return edge_poller_of(reactor)


if INSIDE:  # ReactorTests runs it, in the reactor that it is for

    class InsideTests(relaycontract.RelayContract):
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
        await self.passes("tests.net.test_relayreactor.InsideTests")

    async def test_others(self) -> None:
        """All else in the reactor goes on: hellos, dials, lookups in threads, closes in order, time limits."""
        await self.passes("tests.test_service.DrainTests", "tests.net.test_linger", "tests.net.test_dialer")


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
        """Who chose another keeps it."""
        self.assertEqual(
            "SelectReactor", self.reactor_of("from twisted.internet import selectreactor; selectreactor.install()")
        )

    def test_stops(self) -> None:
        """Relays are told when it closes down, and it opens nothing before there are some."""
        program = (
            f"{INSTALL}from twisted.internet import reactor\n"
            "from sniproxy.net.poller import edge_poller_of\n"
            "own = edge_poller_of(reactor)\n"
            "assert not own.is_open\n"
            "own.hold()\n"
            "own.connectionLost = lambda reason: print('told')\n"
            "reactor.callWhenRunning(lambda: reactor.callInThread(reactor.callFromThread, reactor.stop))\n"
            "reactor.run()\n"
        )
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(("told\n", 0), (ran.stdout, ran.returncode), ran.stderr)
