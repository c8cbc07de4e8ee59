"""Tests for tests.peers.maven."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import maven, versions
from tests.peers.maven import MavenError
from tests.peers.versions import Pulsar

#: What Maven 3.8 says of a missing parent.
MISSING = (
    "[ERROR] Failed to execute goal on project peers: Could not resolve dependencies: Failed to collect dependencies"
    " at org.apache.pulsar:pulsar-broker:jar:9.9.9 -> x.y:child:jar:2: Failed to read artifact descriptor for"
    " x.y:child:jar:2: Could not find artifact x.y:{parent}:pom:2 in central (https://example.org/maven2) -> [Help 1]"
)


def texts(element: ElementTree.Element, *path: str) -> list[str]:
    """The texts of all elements at the path, without Maven's namespace."""
    places = "/".join(f"{{http://maven.apache.org/POM/4.0.0}}{name}" for name in path)
    return [found.text or "" for found in element.findall(places)]


class PomTests(SynchronousTestCase):
    """The POM of a version."""

    def test_everything_is_in_it(self) -> None:
        """Roots have the release, managed versions are managed, and each dependency leaves out the same."""
        pulsar = Pulsar("9.9", "9.9.9", 17, ("broker",), ("g:bom:2",), ("g:added:3",), ("g:out",))
        root = ElementTree.fromstring(maven.pom(pulsar))
        self.assertEqual(texts(root, "dependencies", "dependency", "artifactId"), ["broker", "added"])
        self.assertEqual(texts(root, "dependencies", "dependency", "version"), ["9.9.9", "3"])
        left_out = texts(root, "dependencies", "dependency", "exclusions", "exclusion", "artifactId")
        self.assertEqual(left_out, ["out", "out"])
        managed = ("dependencyManagement", "dependencies", "dependency")
        self.assertEqual(texts(root, *managed, "artifactId"), ["bom"])
        self.assertEqual(texts(root, *managed, "scope"), ["import"])

    def test_each_version(self) -> None:
        """The POM of each version can be read."""
        for pulsar in versions.ALL:
            root = ElementTree.fromstring(maven.pom(pulsar))
            self.assertIn(pulsar.release, texts(root, "dependencies", "dependency", "version"))


class CopyTests(SynchronousTestCase):
    """A runner in place of Maven."""

    def setUp(self) -> None:
        """An empty repository."""
        self.repository = Path(self.mktemp())
        self.commands: list[Sequence[str]] = []

    def copy(self, failures: Iterable[str]) -> None:
        """Copy jars with a Maven that fails with each text once."""
        said = iter(failures)

        def runner(command: Sequence[str]) -> str | None:
            self.commands.append(command)
            return next(said, None)

        maven.copy_jars(versions.ALL[0], Path("jars"), self.repository, runner)

    def stubs(self) -> list[str]:
        """The stubs in the repository."""
        return sorted(str(path.relative_to(self.repository)) for path in self.repository.rglob("*.pom"))

    def test_nothing_missing(self) -> None:
        """Maven runs once, with our own repository."""
        self.copy([])
        self.assertEqual((len(self.commands), self.stubs()), (1, []))
        self.assertIn(f"-Dmaven.repo.local={self.repository}", self.commands[0])

    def test_missing_parents(self) -> None:
        """Each missing parent becomes an empty POM, in place of Maven's note that it is missing."""
        note = self.repository / "x" / "y" / "one" / "2" / "one-2.pom.lastUpdated"
        note.parent.mkdir(parents=True)
        note.write_text("not found")
        self.copy([MISSING.format(parent="one"), MISSING.format(parent="two")])
        self.assertEqual(self.stubs(), ["x/y/one/2/one-2.pom", "x/y/two/2/two-2.pom"])
        self.assertFalse(note.exists())
        stub = ElementTree.parse(note.with_name("one-2.pom")).getroot()
        self.assertEqual(texts(stub, "artifactId") + texts(stub, "packaging"), ["one", "pom"])
        self.assertEqual(len(self.commands), 3)

    def test_other_failure(self) -> None:
        """Another failure is an error with Maven's output; so is a parent that stays missing."""
        failure = self.assertRaises(MavenError, self.copy, ["Could not find artifact x.y:z:jar:2 in central"])
        self.assertIn("x.y:z:jar:2", str(failure))
        self.assertRaises(MavenError, self.copy, [MISSING.format(parent="one")] * 2)

    def test_too_many(self) -> None:
        """There is a limit to the missing parents."""
        self.assertRaises(MavenError, self.copy, (MISSING.format(parent=f"p{i}") for i in range(99)))
        self.assertEqual(len(self.stubs()), maven.MAX_STUBS)
