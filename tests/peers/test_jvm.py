"""Tests for tests.peers.jvm."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import jvm, provide, versions


class CommandTests(SynchronousTestCase):
    """The beginning of a command."""

    def test_version(self) -> None:
        """A version's Java runs with its jars; without one it is that of the run."""
        self.patch(provide, "java_home", lambda pulsar: Path(f"/java-{pulsar.java}"))
        for pulsar in versions.ALL:
            command = jvm.java_command("Main", "64m", "warn", pulsar)
            self.assertEqual(command[0], f"/java-{pulsar.java}/bin/java")
            self.assertEqual(command[-3:], ["-cp", provide.classpath(pulsar), "Main"])
        usual = jvm.java_command("Main", "64m", "warn")
        self.assertEqual(usual, jvm.java_command("Main", "64m", "warn", versions.current()))
