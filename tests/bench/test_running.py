"""Starting and stopping proxies."""

from __future__ import annotations

import os
import select
import sys

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.clients import Destination, echo
from bench.measure import cpu_seconds
from bench.ours import our_peer, ours
from bench.peer import Peer
from bench.peers import PEERS
from bench.running import Running
from bench.targets import Target, client_hello

NAME = "echo.bench.test"


class RunningTests(SynchronousTestCase):
    """Start, use and stop."""

    def test_each(self) -> None:
        """Each installed proxy routes a name to its target, and stops with all processes."""
        hello = client_hello(NAME)
        target = Target("echo", len(hello))
        self.addCleanup(target.stop)
        for peer in PEERS.values():
            if peer.program() is None:
                continue
            running = Running(peer, {NAME: target.port}, ["more.bench.test"])
            try:
                sample = echo(Destination(running.port, hello, running.pids), 0.05)
                self.assertGreater(sample["proxy CPU, µs"], 0, peer.name)
                self.assertGreater(running.seconds, 0)
                self.assertGreater(running.memory, 100_000)
            finally:
                running.stop()
            for pid in running.pids:
                self.assertRaises(OSError, cpu_seconds, pid)

    def test_another(self) -> None:
        """A proxy that does not use the relay that was asked for is not measured."""
        error = self.assertRaises(LoadError, Running, evolve(our_peer("x", "it", "best"), start=ours), {NAME: 1})
        self.assertIn("not the best relay: ", str(error))

    def test_before(self) -> None:
        """A command can run the proxy's command; it knows the proxy's folder."""
        running = Running(PEERS["ours"], {NAME: 1}, before=["/usr/bin/env", "-C", "{folder}"])
        self.addCleanup(running.stop)
        self.assertEqual(os.readlink(f"/proc/{running.pids[0]}/cwd"), str(running.folder))

    def test_workers(self) -> None:
        """A start waits for the workers of a proxy that listens earlier."""
        for name in ("ours", "nginx"):
            peer = PEERS[name]
            if peer.program() is None:
                continue
            running = Running(peer, {NAME: 1}, workers=2)
            self.addCleanup(running.stop)
            self.assertGreaterEqual(len(running.pids), 3, name)

    def test_few(self) -> None:
        """A late worker counts as a process, and is stopped even if its master does not stop it."""
        late = """
import os, signal, socket, sys
os.open(sys.argv[2], os.O_WRONLY)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
listening.accept()
os.fork()
signal.pause()
"""
        fifo = self.mktemp()
        os.mkfifo(fifo)
        # The write side of the FIFO ends with the last process that has it.
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        peer = Peer(
            "x",
            "it",
            lambda: sys.executable,
            lambda program, plan: [program, "-c", late, str(plan.port), os.path.abspath(fifo)],
            processes=lambda workers: 1 + workers,
        )
        running = Running(peer, {})
        try:
            self.assertEqual(len(running.pids), 2)
        finally:
            running.stop()
        ended, _, _ = select.select([reader], [], [], 10)
        self.assertEqual(ended, [reader], "a process is left")
        self.assertEqual(os.read(reader, 1), b"")

    def test_absent(self) -> None:
        """A missing peer is reported with its package."""
        peer = Peer("x", "Debian's package x", lambda: None, lambda *ignored: [])
        self.assertIn("Debian's package x", str(self.assertRaises(LoadError, Running, peer, {})))

    def test_ends(self) -> None:
        """A proxy that exits at start is reported with its last line."""
        peer = Peer(
            "x", "it", lambda: "/bin/sh", lambda program, plan: [program, "-c", "echo 'no such option' >&2; exit 3"]
        )
        error = self.assertRaises(LoadError, Running, peer, {})
        self.assertEqual(str(error), "x exited with status 3: no such option")
