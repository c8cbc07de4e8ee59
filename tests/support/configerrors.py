"""Assertions for tests of configuration errors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'


class ErrorCase(SynchronousTestCase):
    """Checks that every error is one line that begins with the file and the line number."""

    def refused(self, text: str, *said: str) -> None:
        """Assert that one listener followed by C{text} is refused, with a message that has all of C{said}."""
        self.refused_file(LISTENER + text, *said)

    def refused_at_end(self, text: str, said: str) -> None:
        """Assert that one listener followed by C{text} is refused for its last line, with a message that begins so."""
        line = f"{LISTENER}{text}".count("\n") + 1
        self.refused(text, f"dir/f.toml:{line}: {said}")

    def refused_file(self, text: str, *said: str) -> None:
        """Assert that a whole file is refused, with a message that has all of C{said}."""
        message = str(self.assertRaises(ConfigError, parse, text, "dir/f.toml"))
        for line in message.split("\n"):  # a line for each error
            self.assertRegex(line, r"\Adir/f\.toml(:[1-9][0-9]*)?: ")
        for part in said:
            self.assertIn(part, message)

    def route(self, server_name: str, target: str = '"b:1"', more: str = "") -> str:
        """A route table. @param target: as TOML. @param more: further lines."""
        return f'[[route]]\nserver_name = "{server_name}"\ntarget = {target}\n{more}\n'
