"""Tests for sniproxy.server.reloader."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.reloader import Reloader
from sniproxy.util.files import WATCH_INTERVAL_S

PLAIN = '[[listener]]\nendpoint = "tcp:0"\n'
WATCHED = PLAIN + "[reload]\non_change = true\n"


@attrs.define
class Proxy:
    """Accepts every valid configuration.

    @ivar seen: C{good} or C{bad} for each reload. @ivar slow: the outcome of all reloads. None: they end at once.
    """

    configuration: Configuration
    seen: list[str] = attrs.field(factory=list)
    slow: Deferred[str | None] | None = None

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        if self.slow is not None:
            return self.slow
        try:
            self.configuration = read()
        except ConfigError as error:
            self.seen.append("bad")
            return succeed(str(error))
        self.seen.append("good")
        return succeed(None)


class ReloaderTests(SynchronousTestCase):
    """On request, and after a change of the file."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.clock = Clock()

    def reloader(self, text: str) -> tuple[Proxy, Reloader]:
        self.file.write_text(text)
        proxy = Proxy(self.read())
        reloader = Reloader(self.clock, proxy, self.read, str(self.file))
        reloader.start()
        return proxy, reloader

    def read(self) -> Configuration:
        try:
            return parse(self.file.read_text(), "x.toml")
        except OSError as error:
            raise ConfigError(str(error)) from error

    def test_passed_on(self) -> None:
        """A reload that is waiting when another process takes over is passed on to it; a later one is not."""
        told: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda pid, number: told.append((pid, number)))
        proxy, reloader = self.reloader(PLAIN)
        proxy.slow = Deferred()
        waiting = reloader.reload()
        reloader.stop(4321)
        proxy.slow.callback("another process has taken over")
        self.assertEqual("another process has taken over", self.successResultOf(waiting))
        self.assertEqual([(4321, signal.SIGHUP)], told)
        proxy.slow = None
        self.successResultOf(reloader.reload())
        self.assertEqual(1, len(told))

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(WATCH_INTERVAL_S)

    def test_told(self) -> None:
        """It reloads on request; without C{on_change} the file is not watched."""
        proxy, reloader = self.reloader(PLAIN)
        self.file.write_text(PLAIN + "# changed")
        self.assertEqual([], self.clock.getDelayedCalls())
        reloader.reload()
        self.assertEqual(["good"], proxy.seen)

    def test_observer(self) -> None:
        """An observer is called at the beginning and at the end of each reload."""
        calls: list[str | None] = []

        class Observer:
            def reloading(self) -> None:
                calls.append("reloading")

            def reloaded(self, why: str | None) -> None:
                calls.append(why)

        slow: Deferred[str | None] = Deferred()
        proxy = Proxy(parse(PLAIN, "x.toml"), slow=slow)
        reloader = Reloader(Clock(), proxy, lambda: parse(PLAIN, "x.toml"), None, Observer())
        ended = reloader.reload()
        self.assertEqual(["reloading"], calls)
        slow.callback("bad")
        self.assertEqual(("bad", ["reloading", "bad"]), (self.successResultOf(ended), calls))

    def test_change(self) -> None:
        """A changed file is read once, when two checks in a row have found it the same."""
        proxy, reloader = self.reloader(WATCHED)
        self.look(3)
        self.assertEqual([], proxy.seen)
        self.file.write_text(WATCHED + "# half")
        self.look()
        self.file.write_text(WATCHED + "# the whole")
        self.look()
        self.assertEqual([], proxy.seen)
        self.look(3)
        self.assertEqual(["good"], proxy.seen)
        reloader.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_bad_change(self) -> None:
        """An invalid file is reported once, and read again after the next change, also if another file replaces it."""
        proxy, reloader = self.reloader(WATCHED)
        self.file.write_text("no TOML")
        self.look(5)
        self.assertEqual(["bad"], proxy.seen)
        beside = Path(f"{self.file}.new")
        beside.write_text(WATCHED)
        beside.rename(self.file)
        self.look(5)
        self.assertEqual(["bad", "good"], proxy.seen)
        reloader.stop()

    def test_link(self) -> None:
        """A symbolic link with another target counts as a change, as in ConfigMap volumes."""
        folder = Path(self.mktemp())
        for name in ("1", "2"):
            (folder / name).mkdir(parents=True)
            (folder / name / "x.toml").write_text(WATCHED)
        (folder / "data").symlink_to("1")
        proxy = Proxy(parse(WATCHED, "x.toml"))
        path = folder / "data" / "x.toml"
        reloader = Reloader(self.clock, proxy, lambda: parse(path.read_text(), "x.toml"), str(path))
        reloader.start()
        (folder / "new").symlink_to("2")
        (folder / "new").rename(folder / "data")
        self.look(3)
        self.assertEqual(["good"], proxy.seen)
        reloader.stop()

    def test_config_map(self) -> None:
        """A new version of a ConfigMap counts as a change: kubelet swaps a link on the way to the file."""
        volume = Path(self.mktemp())
        path = volume / "sniproxy.toml"

        def publish(version: str, text: str) -> None:
            (volume / version).mkdir(parents=True)
            (volume / version / "sniproxy.toml").write_text(text)
            (volume / "..data_tmp").symlink_to(version)
            (volume / "..data_tmp").rename(volume / "..data")

        publish("..2026_11_29_20_00_00.1", WATCHED)
        path.symlink_to("..data/sniproxy.toml")
        proxy = Proxy(parse(WATCHED, "x.toml"))
        reloader = Reloader(self.clock, proxy, lambda: parse(path.read_text(), "x.toml"), str(path))
        reloader.start()
        self.look(3)
        self.assertEqual([], proxy.seen)
        for version in range(2, 5):
            publish(f"..2026_11_29_20_00_00.{version}", WATCHED)
            shutil.rmtree(volume / f"..2026_11_29_20_00_00.{version - 1}")
            self.look(5)
            self.assertEqual(["good"] * (version - 1), proxy.seen)
        reloader.stop()

    def test_switched(self) -> None:
        """The new configuration decides whether the file is watched."""
        proxy, reloader = self.reloader(WATCHED)
        self.file.write_text(PLAIN)
        self.look(3)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.file.write_text(WATCHED)
        reloader.reload()
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.file.unlink()
        self.look(3)
        self.assertEqual(["good", "good", "bad"], proxy.seen)
        reloader.stop()

    def test_no_file(self) -> None:
        """Without a file it reloads on request, and watches nothing, whatever the configuration says."""
        proxy = Proxy(parse(WATCHED, "x.toml"))
        reloader = Reloader(self.clock, proxy, lambda: parse(WATCHED, "x.toml"))
        reloader.start()
        self.assertIsNone(self.successResultOf(reloader.reload()))
        self.assertEqual(["good"], proxy.seen)
        self.assertEqual([], self.clock.getDelayedCalls())
        reloader.stop()

    def test_slow(self) -> None:
        """While a reload runs, the file is not reported again; a reload that ends after the stop starts no watch."""
        proxy, reloader = self.reloader(WATCHED)
        proxy.slow = Deferred()
        self.file.write_text(WATCHED + "# changed")
        self.look(2)
        proxy.configuration = parse(WATCHED, "x.toml")
        waiting = proxy.slow
        proxy.slow = None
        self.look(3)
        self.assertEqual([], proxy.seen)
        reloader.stop()
        waiting.callback(None)
        self.assertEqual([], self.clock.getDelayedCalls())
