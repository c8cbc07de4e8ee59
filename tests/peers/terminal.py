"""A terminal of a given size, by tmux: types keys, and reads the screen as a person sees it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.needs import require
from tests.support.twistdprocess import ENVIRONMENT

PROGRAM = "import sys; from sniproxy.ctl import main; sys.exit(main())"
TIMEOUT_S = 30.0


class Terminal:
    """A terminal that runs a command in a folder of its own, where C{sniproxyctl} is on the PATH.

    @ivar folder: that folder. @param environment: variables besides those of this process.
    """

    def __init__(
        self,
        case: SynchronousTestCase,
        *command: str,
        width: int = 80,
        height: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        require("tmux")
        self._case = case
        self.folder = Path(case.mktemp()).absolute()
        self.folder.mkdir()
        program = self.folder / "bin" / "sniproxyctl"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
        program.chmod(0o755)
        # The path of a unix socket is at most 107 bytes long, and trial's folders are deep.
        self._socket = f"/tmp/sniproxy-test-{os.getpid()}-{id(self)}"
        variables = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}
        words = [f"{name}={value}" for name, value in {**variables, **(environment or {})}.items()]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(self.folder),
                   "env", *words, *command)  # fmt: skip
        case.addCleanup(self.end)

    def type(self, text: str) -> None:
        """Type characters."""
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, as C{Enter}, C{Down}, C{NPage}, C{C-c}."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Change the size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, colours: bool = False) -> list[str]:
        """The lines of the screen. @param colours: with the escape sequences of attributes."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else [])).split("\n")[:-1]

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen has a text. @param pattern: a regular expression. @return: the screen."""
        end, screen = time.monotonic() + TIMEOUT_S, ""
        while time.monotonic() < end:
            screen = "\n".join(self.screen())
            if re.search(pattern, screen, re.MULTILINE):
                return screen
        raise AssertionError(f"the screen never had {pattern!r}:\n{screen}")

    def end(self) -> None:
        """End the command and the terminal."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)
        Path(self._socket).unlink(missing_ok=True)

    def _tmux(self, *arguments: str) -> str:
        return self._run(["tmux", "-S", self._socket, *arguments])

    def _run(self, command: Sequence[str]) -> str:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        return ran.stdout
