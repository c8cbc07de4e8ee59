"""Tests for tests.peers.jdk."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import jdk


class JdkTests(SynchronousTestCase):
    """With fake installations."""

    def setUp(self) -> None:
        """No Java."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def java(self, name: str, version: str, compiler: bool = True) -> Path:
        """Add a Java."""
        home = self.folder / name
        (home / "bin").mkdir(parents=True)
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
        for program in ("java", "javac") if compiler else ("java",):
            (home / "bin" / program).touch(mode=0o755)
        return home

    def test_major(self) -> None:
        """The feature release is in the file `release`; without it, or without the program, there is no Java."""
        self.assertEqual(jdk.major(self.java("a", "17.0.15")), 17)
        self.assertEqual(jdk.major(self.java("b", "25")), 25)
        self.assertEqual(jdk.major(self.folder / "none"), 0)
        (self.folder / "a" / "bin" / "java").unlink()
        self.assertEqual(jdk.major(self.folder / "a"), 0)

    def test_order(self) -> None:
        """JAVA_HOME counts first, then the PATH, then the installed ones, if they are new enough."""
        home, on_path, installed = self.java("home", "21.0.1"), self.java("path", "22"), self.java("jvm/x", "25.0.2")
        environment = {"JAVA_HOME": str(home), "PATH": str(on_path / "bin")}
        found = [jdk.find(least, environment, installed.parent) for least in (17, 22, 23, 26)]
        self.assertEqual(found, [home, on_path, installed, None])

    def test_link(self) -> None:
        """A link on the PATH, as Debian has, is followed."""
        home = self.java("jvm/x", "17.0.1")
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "java").symlink_to(home / "bin" / "java")
        self.assertEqual(jdk.find(17, {"PATH": str(self.folder / "bin")}, self.folder / "none"), home)

    def test_without_compiler(self) -> None:
        """A Java without a compiler does not count."""
        home = self.java("home", "25", compiler=False)
        self.assertIsNone(jdk.find(17, {"JAVA_HOME": str(home), "PATH": ""}, self.folder / "none"))

    def test_quiet(self) -> None:
        """Only a Java that warns gets the flags against it, because older ones do not know them."""
        self.assertEqual(jdk.quiet_flags(self.java("old", "21.0.1")), [])
        self.assertIn("--sun-misc-unsafe-memory-access=allow", jdk.quiet_flags(self.java("new", "25")))
