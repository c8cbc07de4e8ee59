"""Tests for sniproxy.migrate.readers."""

from __future__ import annotations

from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import File, ListenerTable, RouteEntry
from sniproxy.migrate import readers
from sniproxy.migrate.formats import WRITERS, Format
from sniproxy.migrate.model import Exported, MigrateError

FILE = File(listener=[ListenerTable("tcp:4443")], route=[RouteEntry("a.test", target="127.0.0.1:6651")])


class ReadersTests(SynchronousTestCase):
    """Each format has a module of its own."""

    def test_readers(self) -> None:
        """Each reader takes files. Without any it returns nothing, or says what it needs."""
        for one in Format:
            try:
                self.assertEqual([], readers.read(one, []).rules, one)
            except MigrateError as error:
                self.assertIn("import", str(error))

    def test_writers(self) -> None:
        """Each writer takes a configuration and returns text with its names."""
        for to in WRITERS:
            made = readers.write(to, FILE)
            self.assertIsInstance(made, Exported)
            self.assertIn("a.test", made.text, to)

    def test_modules(self) -> None:
        """The modules say what they read."""
        for name in readers._READERS.values():
            self.assertTrue(import_module(name).__doc__, name)
