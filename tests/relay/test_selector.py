"""Tests for sniproxy.relay.selector."""

from __future__ import annotations

import errno
from typing import cast

from twisted.logger import ILogObserver, LogLevel, globalLogPublisher

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.engine import EngineUnavailable
from sniproxy.relay.selector import RelaySelector, Selection, describe_relay
from tests.support.fakeengine import use_fake, use_none
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class SelectorTests(SocketTestCase):
    """Which relay plain tunnels get."""

    def selector(self) -> RelaySelector:
        """A selector whose log lines are in C{lines}."""
        self.lines: list[str] = []

        def observe(event: dict[str, object]) -> None:
            if event["log_namespace"] == "sniproxy.relay.selector":
                level = "" if event["log_level"] is LogLevel.info else "! "
                self.lines.append(level + str(event["log_format"]).format(**event))

        observer = cast(ILogObserver, observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        selector = RelaySelector(reactor, LingeringCloser(reactor))
        self.addCleanup(selector.close)
        return selector

    def test_engine(self) -> None:
        """Auto and engine start it once; the log has one line."""
        fake = use_fake(self)
        selector = self.selector()
        self.assertEqual((0, 0), (selector.held, selector.descriptors))
        selected = selector.prepare("auto", 2)
        self.assertIs(selected.engine, selector.prepare("engine", 2).engine)
        self.assertEqual([], self.lines)
        selector.use(selected, 2)
        selector.use(selector.prepare("engine", 2), 2)
        self.assertEqual(["relay: engine, 2 threads"], self.lines)
        fake.held, fake.pipes = 70, 3
        self.assertEqual((70, 6), (selector.held, selector.descriptors))
        self.assertEqual(("engine", selected), (selector.selection.relay, selector.selection))
        selector.close()
        selector.close()
        self.assertEqual(1, fake.closed)

    def test_python(self) -> None:
        """Python is not a lack, and starts nothing."""
        fake = use_fake(self)
        selector = self.selector()
        selector.use(selector.prepare("python", 1), 1)
        self.assertEqual((["relay: python"], ()), (self.lines, fake.arguments))
        self.assertEqual((Selection(), "python"), (selector.selection, selector.selection.relay))

    def test_none(self) -> None:
        """Without the engine, auto selects Python and says why; engine is an error that changes nothing."""
        use_none(self)
        selector = self.selector()
        selector.use(selector.prepare("auto", 1), 1)
        self.assertEqual(["relay: python: no engine here"], self.lines)
        self.assertRaises(EngineUnavailable, selector.prepare, "engine", 1)
        self.assertEqual(Selection(None, "no engine here"), selector.selection)

    def test_no_thread(self) -> None:
        """An engine that cannot start is tried again at the next configuration."""
        fake = use_fake(self)
        fake.refusal = OSError(errno.EAGAIN, "no thread")
        selector = self.selector()
        self.assertEqual(Selection(None, "the engine cannot start: no thread"), selector.prepare("auto", 1))
        fake.refusal = None
        self.assertIsNotNone(selector.prepare("auto", 1).engine)

    def test_reload(self) -> None:
        """A reload may select another relay; the engine keeps its threads, which is a warning."""
        use_fake(self)
        selector = self.selector()
        for wanted, threads in (("engine", 1), ("python", 1), ("auto", 4)):
            selector.use(selector.prepare(wanted, threads), threads)
        self.assertEqual(
            [
                "relay: engine, 1 thread",
                "relay: python",
                "relay: engine, 1 thread",
                "! warning: relay_threads = 4: 1 at start; restart to change it",
            ],
            self.lines,
        )

    def test_describe(self) -> None:
        """What --check says."""
        use_fake(self)
        self.assertEqual("engine, 1 thread", describe_relay("auto", 1))
        self.assertEqual("engine, 3 threads", describe_relay("engine", 3))
        self.assertEqual("python", describe_relay("python", 3))
        use_none(self)
        self.assertEqual("python: no engine here", describe_relay("auto", 1))
        self.assertRaises(EngineUnavailable, describe_relay, "engine", 1)
