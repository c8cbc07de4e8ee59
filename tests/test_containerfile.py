"""Tests for the Containerfile without containers. `.ci/image.py` builds the image and runs it."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.ctl import parse

ROOT = Path(__file__).parent.parent


class ContainerfileTests(SynchronousTestCase):
    """The Containerfile and its context."""

    def setUp(self) -> None:
        """Skip the test without the file."""
        self.file = ROOT / "Containerfile"
        if not self.file.exists():
            raise SkipTest("the Containerfile is not here: the tests run apart from the sources")

    def context(self) -> list[Path]:
        """The files and folders that the build gets."""
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        return [ROOT / line.removeprefix("!") for line in lines if line.startswith("!")]

    def test_context(self) -> None:
        """The context has all files that the package names."""
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        named = [setup["metadata"]["long_description"].removeprefix("file: "), setup["metadata"]["license_files"]]
        for files in setup["options.data_files"].values():
            named += files.split()
        named += re.findall(r"^graft (\S+)", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE)
        self.assertGreater(len(named), 4)
        for name in (*named, "setup.cfg", "pyproject.toml", "MANIFEST.in"):
            paths = list(ROOT.glob(name))
            self.assertTrue(paths, name)
            for path in paths:
                self.assertTrue(any(path.is_relative_to(one) for one in self.context()), path)

    def test_command(self) -> None:
        """The entry point takes the default arguments."""
        text = self.file.read_text()
        words: list[str] = []
        for name in ("ENTRYPOINT", "CMD"):
            words += json.loads(re.findall(rf"^{name} (\[.*\])$", text, re.MULTILINE)[-1])
        self.assertEqual("sniproxyctl", words[0])
        self.assertEqual("/etc/sniproxy/sniproxy.toml", parse(words[1:]).config)

    def test_user(self) -> None:
        """The user is that of the Deployment in examples/kubernetes."""
        deployment = (ROOT / "examples" / "kubernetes" / "base" / "deployment.yaml").read_text()
        user, group = re.findall(r"runAs(?:User|Group): (\d+)", deployment)
        self.assertIn(f"USER {user}:{group}\n", self.file.read_text())
