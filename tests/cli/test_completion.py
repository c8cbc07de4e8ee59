"""Tests for sniproxy.cli.completion, in bash. C{tests.peers.test_terminal} has the other shells."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.completion import SHELLS, actions, add_completion, completion
from tests.support import programs

DRIVER = """
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMPREPLY=()
_shtab_sniproxyctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Completes the last of its arguments as bash does at Tab. The first one is the file of the script."""


class CompletionTests(SynchronousTestCase):
    """--print-completion SHELL."""

    def script(self, shell: str) -> str:
        out = io.StringIO()
        with redirect_stdout(out), self.assertRaises(SystemExit) as ended:
            ctl.parse(["--print-completion", shell])
        self.assertEqual(0, ended.exception.code)
        return out.getvalue()

    def test_shells(self) -> None:
        """The script of each shell has each command."""
        for shell in SHELLS:
            script = self.script(shell)
            for command in ctl.parser()[1]:
                self.assertIn(command, script)

    def test_unknown_shell(self) -> None:
        """Another shell is wrong usage."""
        with redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as ended:
            ctl.parse(["--print-completion", "cmd"])
        self.assertEqual(2, ended.exception.code)

    def test_lazy(self) -> None:
        """No other command imports the library."""
        program = "import sys, sniproxy.ctl; sniproxy.ctl.parser(); print('shtab' in sys.modules)"
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual("False\n", ran.stdout)

    def test_actions(self) -> None:
        """Options of the top parser and of the commands are found."""
        found = {option for action in actions(ctl.parser()[0]) for option in action.option_strings}
        self.assertLessEqual({"--version", "--print-completion", "--watch", "--interval", "--token-file"}, found)

    def test_files(self) -> None:
        """Only arguments that are called FILE complete files."""
        parser = argparse.ArgumentParser("x")
        parser.add_argument("--a", metavar="FILE")
        parser.add_argument("--b", metavar="URL")
        add_completion(parser)
        script = completion(parser, "bash")
        self.assertIn("_shtab_x___a_COMPGEN=_shtab_compgen_files", script)
        self.assertNotIn("___b_COMPGEN", script)

    def complete(self, *words: str) -> list[str]:
        """What bash offers for the last of these words."""
        bash = shutil.which("bash")
        if bash is None:
            raise SkipTest("no bash here")
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "script").write_text(self.script("bash"))
        (folder / "sniproxy.toml").touch()
        ran = programs.run(
            [bash, "--norc", "-c", DRIVER, "bash", "./script", "sniproxyctl", *words],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [word.strip() for word in ran.stdout.splitlines() if word]

    def test_bash(self) -> None:
        """bash completes commands, options, their choices and files."""
        self.assertEqual(["status"], self.complete("st"))
        self.assertEqual(["--watch"], self.complete("status", "--w"))
        self.assertEqual(["--interval"], self.complete("top", "--i"))
        self.assertEqual(["bash"], self.complete("--print-completion", "b"))
        self.assertEqual(["sniproxy.toml"], self.complete("explain", "a.test", "--config", "snip"))
        self.assertEqual(["sniproxy.toml"], self.complete("inspect", "snip"))
        self.assertEqual([], self.complete("status", "snip"))
