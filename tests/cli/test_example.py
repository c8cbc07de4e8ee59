"""Tests for sniproxy.cli.example."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import cast

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli import example
from sniproxy.cli.example import EXAMPLES, examples_folder, with_paths
from sniproxy.cli.failure import CommandFailed
from tests.support.twistdprocess import ENVIRONMENT, TWISTD


def run(*words: str) -> tuple[int, str, str]:
    """Run the command. @return: status, standard output and standard error."""
    out, error = io.StringIO(), io.StringIO()
    status = ctl.main(["example", *words], ctl.Streams(io.BytesIO(), out, error))
    return status, out.getvalue(), error.getvalue()


class FileTests(SynchronousTestCase):
    """The files, of the sources or of an installation."""

    def setUp(self) -> None:
        try:
            self.folder = examples_folder()
        except CommandFailed as error:
            raise SkipTest(str(error)) from error

    def test_configurations(self) -> None:
        """Each configuration passes --check in another folder, with its comments."""
        for name, one in EXAMPLES.items():
            status, out, error = run(name)
            self.assertEqual((0, ""), (status, error), name)
            if not one.path.endswith(".toml"):
                continue
            path = Path(self.mktemp()).absolute()
            path.mkdir()
            (path / "x.toml").write_text(out)
            ran = subprocess.run(
                [*TWISTD, "--config", "x.toml", "--check"], cwd=path, env=ENVIRONMENT, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
            )  # fmt: skip
            self.assertEqual(0, ran.returncode, ran.stdout)
            self.assertIn("the configuration is valid", ran.stdout)
            self.assertGreater(out.count("\n# "), 5)

    def test_default(self) -> None:
        """Without a name it is the reverse proxy's; a file without paths is printed as it is."""
        expected = (self.folder / "sniproxy.toml").read_text()
        self.assertEqual((0, expected, ""), run())
        self.assertEqual((0, (self.folder / "sniproxy.service").read_text(), ""), run("service"))

    def test_list(self) -> None:
        """All files are listed, and exist."""
        status, out, _ = run("--list")
        lines = out.splitlines()
        self.assertEqual((0, len(EXAMPLES)), (status, len(lines)))
        for line, (name, one) in zip(lines, EXAMPLES.items(), strict=True):
            self.assertEqual([name, str(self.folder / one.path)], line.split()[:2])
            self.assertTrue((self.folder / one.path).is_file(), name)
        self.assertEqual((0, f"{self.folder}/sniproxy.socket\n", ""), run("socket", "--path"))

    def test_wheel(self) -> None:
        """The package lists each file of the sources, so that a wheel has it."""
        listed = self.folder.parent / "setup.cfg"
        if not listed.exists():
            raise SkipTest("setup.cfg is not here: the tests run apart from the sources")
        text = listed.read_text()
        for name, one in EXAMPLES.items():
            wanted = (f"etc/{one.path}", f"{PurePosixPath('etc', one.path).parent}/*{PurePosixPath(one.path).suffix}")
            self.assertTrue(any(f"    {each}\n" in text for each in wanted), name)

    def test_unreadable(self) -> None:
        """A missing file is an error in one line."""
        folder = Path(self.mktemp())
        self.patch(example, "examples_folder", lambda: folder)
        status, out, error = run("forward")
        self.assertEqual((1, ""), (status, out))
        self.assertIn(f"cannot read {folder}/forward.toml: No such file or directory; install", error)

    def test_usage(self) -> None:
        """An unknown name is wrong usage."""
        self.patch(sys, "stderr", io.StringIO())
        self.assertRaises(SystemExit, run, "nothing")


class FakeDistribution:
    """An installation with these files, by their paths below its packages."""

    def __init__(self, root: Path, *paths: str) -> None:
        self._root = root
        self.files = [self._file(path) for path in paths]

    def _file(self, path: str) -> metadata.PackagePath:
        file = metadata.PackagePath(path)
        file.dist = cast(metadata.Distribution, self)
        return file

    def locate_file(self, path: PurePosixPath) -> Path:
        """As that of importlib."""
        return self._root / path


class FolderTests(SynchronousTestCase):
    """Where the examples are."""

    def installed(self, files: Sequence[str]) -> Path:
        """The folder of an installation below C{lib} with these files."""
        root = Path(self.mktemp()).absolute()
        fake = FakeDistribution(root / "lib", *files)
        self.patch(metadata, "distribution", lambda name: fake)
        self.root = root
        return examples_folder(root / "lib" / "sniproxy")

    def test_sources(self) -> None:
        """A folder of the sources has them in etc."""
        root = Path(self.mktemp())
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "sniproxy.toml").touch()
        self.assertEqual(root / "etc", examples_folder(root / "sniproxy"))

    def test_installed(self) -> None:
        """An installation has them where its list of files says."""
        found = self.installed(["sniproxy/ctl.py", "../share/sniproxy/sniproxy.toml"])
        self.assertEqual(self.root / "share" / "sniproxy", found)

    def test_none(self) -> None:
        """Without them, or without an installation, it is an error with the cure."""
        self.assertRaises(CommandFailed, self.installed, ["sniproxy/ctl.py"])

        def none(name: str) -> None:
            raise metadata.PackageNotFoundError(name)

        self.patch(metadata, "distribution", none)
        error = self.assertRaises(CommandFailed, examples_folder, self.root / "lib" / "sniproxy")
        self.assertIn("the folder etc of the sources", str(error))

    def test_paths(self) -> None:
        """Only certificates beside the example become absolute, and no comments."""
        text = 'trust = "certs/ca.pem"\n# certificate = "certs/b.pem"\npath = "access.jsonl"\n'
        expected = 'trust = "/x/certs/ca.pem"\n# certificate = "certs/b.pem"\npath = "access.jsonl"\n'
        self.assertEqual(expected, with_paths(text, Path("/x")))
