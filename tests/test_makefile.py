"""Tests for the Makefile: what its targets run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import programs

ROOT = Path(__file__).parent.parent
MAKEFILE = ROOT / "Makefile"
if not MAKEFILE.exists() or shutil.which("make") is None:
    skip = "no Makefile or no make here"


class MakefileTests(SynchronousTestCase):
    """Targets and variables."""

    def command(self, *arguments: str) -> str:
        """What make would run last, from the name of the module on."""
        # Without the variables of the make that may run this test.
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
        shown = programs.run(
            ["make", "-n", *arguments], cwd=ROOT, env=kept, stdout=subprocess.PIPE, text=True, check=True
        )
        return str(shown.stdout).splitlines()[-1].partition(" -m ")[2].strip()

    def test_seeds(self) -> None:
        """SEEDS runs that number of seeds, SEED tells the story of one; without them, each target has its default."""
        for arguments, command in (
            (["simulate"], "tests.simulation --seeds 1000"),
            (["simulate", "SEEDS=60"], "tests.simulation --seeds 60"),
            (["simulate", "SEEDS=60", "JOBS=3"], "tests.simulation --seeds 60 --jobs 3"),
            (["simulate", "SEED=7"], "tests.simulation --seed 7"),
            (["chaos"], "tests.chaos --seconds 60"),
            (["chaos", "SEED=7", "SECONDS=5"], "tests.chaos --seconds 5 --seed 7"),
        ):
            self.assertEqual(command, self.command(*arguments), arguments)

    def test_conditions(self) -> None:
        """No condition asks for a variable that has a default: it would always hold."""
        text = MAKEFILE.read_text()
        asked = set(re.findall(r"\$\(if \$\((\w+)\)", text))
        self.assertIn("SEED", asked)
        self.assertEqual(set(), asked & set(re.findall(r"^(\w+) *[?:]?=", text, re.MULTILINE)))
