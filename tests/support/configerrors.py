"""For tests of configuration errors: what every message must have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'


class ErrorCase(SynchronousTestCase):
    """Every error names the file, the key, the value and the cure, in one line."""

    def refused(self, text: str, *said: str) -> None:
        """A file with one listener and this text is refused; the message begins with the file and says all this."""
        self.refused_file(LISTENER + text, *said)

    def refused_file(self, text: str, *said: str) -> None:
        message = str(self.assertRaises(ConfigError, parse, text, "dir/f.toml"))
        for line in message.split("\n"):  # a line for each error
            self.assertRegex(line, r"\Adir/f\.toml(:[1-9][0-9]*)?: ")
        for part in said:
            self.assertIn(part, message)

    def route(self, server_name: str, target: str = '"b:1"', more: str = "") -> str:
        return f'[[route]]\nserver_name = "{server_name}"\ntarget = {target}\n{more}\n'
