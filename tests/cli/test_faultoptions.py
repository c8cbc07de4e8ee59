"""The options of ``fault``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.ctl import parse


class OptionTests(SynchronousTestCase):
    """The parser."""

    def test_parse(self) -> None:
        """What to do, the words for it, and the endpoint."""
        options = parse(["fault", "add", "--admin", "127.0.0.1:9090", "action=cut", "after_bytes=5"])
        self.assertEqual(("add", ["action=cut", "after_bytes=5"]), (options.what, options.values))
        self.assertEqual("http://127.0.0.1:9090", options.admin)
        for words in (["fault", "list"], ["fault", "make", "--admin", "a:1"]):
            self.assertEqual(2, self.assertRaises(SystemExit, parse, words).code)
