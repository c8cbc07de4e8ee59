"""Proxies that the bench compares."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.peer import Peer, Plan


class PeerTests(SynchronousTestCase):
    """What a peer is."""

    def test_names(self) -> None:
        """Additional names go to the first target."""
        plan = Plan(Path("x"), 1, {"a.test": 4000, "b.test": 4001}, ["c.test"])
        self.assertEqual(plan.names, {"a.test": 4000, "b.test": 4001, "c.test": 4000})

    def test_version_without_its_place(self) -> None:
        """The path of a program is not part of its version."""
        program = Path(self.mktemp())
        program.write_text('#!/bin/sh\necho "$0 1.2"\n')
        program.chmod(0o755)
        peer = Peer("x", "nobody", lambda: str(program.absolute()), lambda program, plan: [])
        self.assertEqual(f"{program.name} 1.2", peer.said_version())

    def test_absent(self) -> None:
        """A missing peer is named with the package that provides it."""
        absent = Peer("x", "Debian's package x", lambda: None, lambda program, plan: [])
        self.assertIn("Debian's package x", str(self.assertRaises(FileNotFoundError, absent.said_version)))
