"""Tests for sniproxy.diagnostics.collecting."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.build import build
from sniproxy.config import parse
from sniproxy.schema import ConfigError
from tests.configerrors import LISTENER


class AllErrorsTests(SynchronousTestCase):
    """all_errors: every error of a file, once, with its line."""

    def errors(self, text: str) -> list[str]:
        return str(self.assertRaises(ConfigError, parse, text, "f.toml")).split("\n")

    def lines(self, text: str) -> list[int]:
        return [int(error.split(":")[1]) for error in self.errors(text)]

    def test_all(self) -> None:
        """Types, unknown keys, values of all kinds, and what is no TOML, in the file's order."""
        text = (
            'workers = 0\n[[listener]]\nendpoint = "tls:1"\n[[listener]]\nlisten = "tcp:2"\n'
            '[[route]]\nserver_name = "a b"\ntarget = ["x:0", "y:1", "z:0"]\nlistener = "nobody"\n'
            "[[route]]\nserver_name = c.test\ntarget = 7\n"
            "[timeouts]\nidel = 3\nhello = 0\nconnect = 0\n[policy]\nallow_ports = [0]\n"
            '[resolver.x]\ntype = 1\n[resolver.y]\nstale = "x"\n'
        )
        self.assertEqual([1, 3, 5, 7, 8, 8, 9, 11, 12, 14, 15, 16, 18, 20, 21, 22], self.lines(text))

    def test_followers(self) -> None:
        """An error that only follows from another one is not reported."""
        self.assertEqual([2], self.lines('[[listener]]\nendpoint = "4443"\n[[route]]\nserver_name = "a"\n'
                                         'target = "b"\nlistener = "4443"\n'))  # fmt: skip
        self.assertEqual([4], self.lines(f'{LISTENER}[[route]]\nserver_name = "{{"\ntarget = "{{9}}"\n'))
        self.assertEqual([6], self.lines(f'{LISTENER}[default]\nresolver = "x"\n[resolver.x]\ntype = 7\n'))

    def test_bounded(self) -> None:
        """At most twenty errors are shown, and that there are more."""
        for bad in ('[[route]]\nserver_name = "a b"\n', "[[route]]\nodd = 1\n", "[[route]]\nserver_name = x\n"):
            errors = self.errors(LISTENER + bad * 100)
            self.assertEqual(21, len(errors))
            self.assertIn("there are more errors", errors[-1])

    def test_built(self) -> None:
        """Errors of resolvers' options have their lines, too: all, and each once."""
        text = (
            f'{LISTENER}[default]\nresolver = ["x", "y"]\n[no_server_name]\nresolver = "x"\n'
            '[resolver.x]\ntype = "static"\nodd = 1\n[resolver.y]\ntype = "pigeon"\n'
        )
        error = str(self.assertRaises(ConfigError, build, parse(text, "f.toml"), Clock()))
        self.assertEqual(
            ["f.toml:9: resolver.x.odd", "f.toml:11: resolver.y.type"],
            [one.split(" =")[0] for one in error.split("\n")],
        )
