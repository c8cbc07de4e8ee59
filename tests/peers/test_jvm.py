"""Tests for tests.peers.jvm."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import jvm, provide, versions
from tests.peers.needs import require


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

    def test_shares(self) -> None:
        """The JVMs of a version share an archive, if there is one."""
        file = Path("/archive")
        self.patch(provide, "archive", lambda pulsar: file if pulsar is versions.ALL[-1] else None)
        command = jvm.java_command("Main", "64m", "warn", versions.ALL[-1])
        self.assertIn("-XX:SharedArchiveFile=/archive", command)
        self.assertNotIn("SharedArchiveFile", " ".join(jvm.java_command("Main", "64m", "warn", versions.ALL[0])))


class SharingTests(SynchronousTestCase):
    """What a real JVM takes from the archive."""

    def test_client(self) -> None:
        """The client's classes come from the archive that a broker has written."""
        pulsar = versions.current()
        require("java", parts=[*provide.needed(pulsar), f"archive-{pulsar.name}"])
        java, *rest = jvm.java_command("PulsarPeer", "64m", "off")
        done = subprocess.run([java, "-Xlog:class+load", *rest], capture_output=True, text=True, timeout=120)
        self.assertRegex(done.stdout, r"org\.apache\.pulsar\.client\.api\.PulsarClient source: shared objects file")
