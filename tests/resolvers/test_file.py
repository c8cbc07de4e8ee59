"""Tests for sniproxy.resolvers.file."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IWatchingResolver, Refused, Target, WatchState
from sniproxy.resolvers import file, make_resolver
from sniproxy.resolvers.file import FileResolver
from sniproxy.util.files import WATCH_INTERVAL_S
from tests.resolvers.cache.scripted import request
from tests.support.sockets import HandClock


class FileTests(TestCase):
    """Names in a file."""

    def setUp(self) -> None:
        self.clock = HandClock()
        self.path = Path(self.mktemp())

    def make(self, text: str = "a.test b.test:1\n", **options: object) -> FileResolver:
        self.path.write_text(text)
        resolver = make_resolver("file", {"path": str(self.path), **options}, self.clock)
        assert isinstance(resolver, FileResolver)
        return resolver

    async def start(self, resolver: FileResolver) -> None:
        """Start it and count its changes."""
        self.addCleanup(resolver.stop)
        self.changes = 0

        def count() -> None:
            self.changes += 1

        resolver.start(count)

    async def changed(self, resolver: FileResolver) -> None:
        """Wait until the changed file is read."""
        self.clock.advance(WATCH_INTERVAL_S)
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertIsNotNone(resolver._reading)
        done: Deferred[None] = Deferred()
        assert resolver._reading is not None
        resolver._reading.chainDeferred(done)
        await done

    def test_answers(self) -> None:
        """A name's targets do not expire until the file changes; an unknown name is refused."""
        resolver = self.make()
        self.assertTrue(verifyObject(IWatchingResolver, resolver))
        answer = resolver.resolve(request("a.test"))
        self.assertEqual(((Target("b.test", 1),), None), (answer.targets, answer.ttl))
        error = self.assertRaises(Refused, resolver.resolve, request("c.test"))
        self.assertIn("name not found in ", error.reason)
        self.assertEqual(WatchState("1 name"), resolver.state())

    def test_formats(self) -> None:
        """The path's suffix decides the format unless the option does."""
        self.path = Path(self.mktemp() + ".toml")
        self.make('"a.test" = "b.test"')
        self.make("a.test b.test", format="map")
        error = self.assertRaises(BadOption, self.make, "", format="csv")
        self.assertEqual(("format", "csv"), (error.key, error.value))

    def test_unusable(self) -> None:
        """An invalid file at start is an error of the configuration, with its path."""
        self.assertIn("line 1: ", self.assertRaises(BadOption, self.make, "a.test").cure)
        self.path.write_bytes(b"\xff")
        make = lambda: make_resolver("file", {"path": str(self.path)}, self.clock)  # noqa: E731
        self.assertIn("not UTF-8", self.assertRaises(BadOption, make).cure)
        self.path.unlink()
        error = self.assertRaises(BadOption, make)
        self.assertEqual(("path", str(self.path.absolute())), (error.key, error.value))
        self.assertIn("No such file", error.cure)
        os.mkfifo(self.path)
        self.assertIn("not a regular file", self.assertRaises(BadOption, make).cure)
        self.patch(file, "MAX_BYTES", 5)
        self.path.unlink()
        self.assertIn("longer than 5 characters", self.assertRaises(BadOption, self.make).cure)

    async def test_change(self) -> None:
        """A file that is written in place, renamed over, or linked anew (a ConfigMap) is reloaded."""
        folder = Path(self.mktemp())
        for number in (1, 2):
            (folder / f"v{number}").mkdir(parents=True)
            (folder / f"v{number}" / "names").write_text(f"a.test v{number}.test\n")
        (folder / "data").symlink_to("v1")
        self.path = folder / "names"
        self.path.symlink_to("data/names")
        resolver = make_resolver("file", {"path": str(self.path)}, self.clock)
        assert isinstance(resolver, FileResolver)
        await self.start(resolver)

        def host() -> str:
            return resolver.resolve(request("a.test")).targets[0].host

        self.assertEqual("v1.test", host())
        (folder / "new").symlink_to("v2")
        os.replace(folder / "new", folder / "data")
        await self.changed(resolver)
        self.assertEqual(("v2.test", 1), (host(), self.changes))
        (folder / "file").write_text("a.test renamed.test\n")
        os.replace(folder / "file", self.path)
        await self.changed(resolver)
        self.assertEqual(("renamed.test", 2), (host(), self.changes))
        self.path.write_text("a.test written.test\nb.test c.test\n")
        await self.changed(resolver)
        self.assertEqual(("written.test", 3), (host(), self.changes))
        self.assertEqual(WatchState("2 names"), resolver.state())

    async def test_bad_change(self) -> None:
        """An invalid or missing new version keeps the previous one and sets the error; a valid one clears it."""
        resolver = self.make()
        await self.start(resolver)
        self.path.write_text("a.test")
        await self.changed(resolver)
        self.assertEqual("b.test", resolver.resolve(request("a.test")).targets[0].host)
        self.assertEqual("line 1: a.test: write two columns, a name and a target", resolver.state().error)
        self.path.unlink()
        await self.changed(resolver)
        self.assertIn("No such file", str(resolver.state().error))
        self.assertEqual(0, self.changes)
        self.path.write_text("a.test d.test")
        await self.changed(resolver)
        self.assertEqual((1, WatchState("1 name")), (self.changes, resolver.state()))

    async def test_fault(self) -> None:
        """An unexpected error while reading is logged and does not stop the watch."""
        resolver = self.make()
        await self.start(resolver)
        good = resolver._read

        def bad() -> None:
            raise KeyError("oops")

        self.patch(resolver, "_read", bad)
        self.path.write_text("a.test c.test\n")
        await self.changed(resolver)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        self.patch(resolver, "_read", good)
        self.path.write_text("a.test dd.test\n")
        await self.changed(resolver)
        self.assertEqual("dd.test", resolver.resolve(request("a.test")).targets[0].host)

    async def test_stop(self) -> None:
        """A stop waits for a read in progress and leaves no timer."""
        resolver = self.make()
        await self.start(resolver)
        self.path.write_text("a.test c.test\n")
        self.clock.advance(WATCH_INTERVAL_S)
        self.clock.advance(WATCH_INTERVAL_S)
        reading = resolver.stop()
        assert reading is not None
        done: Deferred[None] = Deferred()
        reading.chainDeferred(done)
        await done
        self.assertEqual((0, []), (self.changes, self.clock.getDelayedCalls()))
