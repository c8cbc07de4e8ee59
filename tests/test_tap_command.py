"""Command of sniproxy.tap, in the process of the test; test_tap runs the program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, Logger, formatEvent

from sniproxy import tap
from sniproxy.config.workers import CannotStart
from sniproxy.server import sdnotify
from sniproxy.server.reloader import Reloader
from sniproxy.server.workers import post, takeover
from sniproxy.server.workers.twistdoptions import NotStarted
from sniproxy.tap import Command, Options
from tests.support.tapcommand import (
    CommandCase,
    FakeLink,
    FakeProxy,
)


class CommandTests(CommandCase):
    """Command: signals, and orders of a supervisor."""

    def test_start(self) -> None:
        """Warnings are logged before it is ready; a stop drains."""
        logged: list[LogEvent] = []
        keep: Any = logged.append
        self.patch(tap, "log", Logger("tap", observer=keep))  # trial takes an event with a warning for Python's own
        command = self.command(None, {"nodaemon": True}, "take care")
        command.privilegedStartService()
        said = [formatEvent(event) for event in logged]
        self.assertEqual("warning: take care", said[0])
        self.assertTrue(said[1].startswith("ready: 0 routes, "), said)
        self.successResultOf(command.stopService())
        self.assertEqual(["stop"], self.proxy.calls)

    def test_service_manager(self) -> None:
        """A service manager follows the start, each reload and the stop."""
        calls = self.proxy.calls

        class Manager:
            def ready(self) -> None:
                calls.append("manager: ready")

            def reloading(self) -> None:
                calls.append("manager: reloading")

            def reloaded(self, why: str | None) -> None:
                calls.append(f"manager: reloaded, {why}")

            def stopping(self) -> None:
                calls.append("manager: stopping")

            def stop(self, result: object) -> object:
                calls.append("manager: no more")
                return result

        self.patch(sdnotify, "from_environment", lambda *arguments: Manager())
        command = self.start()
        self.proxy.refuses = "no"
        self.send(signal.SIGHUP)
        self.successResultOf(command.stopService())
        self.assertEqual(
            ["manager: ready", "manager: reloading", "reload", "manager: reloaded, no", "stop", "manager: stopping",
             "manager: no more"],
            calls,
        )  # fmt: skip

    def test_not_started(self) -> None:
        """What cannot start is one line and status 1; a daemon raises, so that twistd reports it."""
        for error, said in (
            (CannotListenError("127.0.0.1", 1, OSError(99, "why")), "cannot listen on 127.0.0.1 port 1: why"),
            (CannotStart("no room"), "no room"),
        ):
            super().setUp()
            self.proxy = FakeProxy(error)
            self.assertEqual((1, "", f"sniproxy: {said}\n"), self.ended(self.command().privilegedStartService))
            daemon = self.command(None, {"nodaemon": False})
            self.assertEqual(said, str(self.assertRaises(NotStarted, daemon.privilegedStartService)))

    def test_signals(self) -> None:
        """The first TERM or INT goes to twistd, which drains; the second one ends at once; HUP and USR1."""
        self.start()
        self.send(signal.SIGHUP)
        self.send(signal.SIGUSR1)
        self.send(signal.SIGTERM)
        self.assertEqual(["reload", "reopen"], self.proxy.calls)
        self.assertEqual([signal.SIGUSR1, signal.SIGTERM], self.passed)
        self.send(signal.SIGINT)
        self.assertEqual(["reload", "reopen", "end"], self.proxy.calls)
        self.assertEqual([signal.SIGUSR1, signal.SIGTERM], self.passed)

    def test_default_handlers(self) -> None:
        """A signal for which nobody had a handler is passed on to nobody."""
        self.patch(signal, "getsignal", lambda number: signal.SIG_DFL)
        self.start()
        self.send(signal.SIGUSR1)
        self.assertEqual(["reopen"], self.proxy.calls)

    def test_signals_of_a_worker(self) -> None:
        """In a worker the second signal does nothing: the supervisor decides."""
        self.start(FakeLink())
        self.send(signal.SIGTERM)
        self.send(signal.SIGTERM)
        self.assertEqual(([signal.SIGTERM], []), (self.passed, self.proxy.calls))

    def test_orders(self) -> None:
        """A worker reports that it is ready, beats, and obeys."""
        link = FakeLink()
        self.start(link)
        link.obey(post.HEARTBEAT, "")
        link.obey(post.RELOAD, "text")
        self.proxy.refuses = "no"
        link.obey(post.RELOAD, "other text")
        self.assertEqual([post.READY, f"{post.HEARTBEAT} [0, 0, 0]", post.RELOADED, post.REFUSED], link.reports)
        self.assertEqual("other text", link.text)
        link.obey(post.REFUSED, "why")
        link.obey(post.REOPEN, "")
        self.assertEqual(["reload", "reload", "reload: why", "reopen"], self.proxy.calls)

    def test_stop_orders(self) -> None:
        """The order to stop drains, once; the order to end ends at once, too."""
        link = FakeLink()
        self.start(link)
        for what, ends, stops in ((post.STOP, 0, 1), (post.STOP, 0, 1), (post.END, 1, 1)):
            link.obey(what, "")
            self.assertEqual((ends, stops), (self.proxy.calls.count("end"), self.reactor.stopped))

    def test_made(self) -> None:
        """twistd's makeService gives the command for these options."""
        options = SimpleNamespace(
            proxy=self.proxy, post=None, parent=None, warnings=[], again=None, path=None, predecessor=None, pid_file="",
            command=None, keeper=None, takeover=None,
        )  # fmt: skip
        self.assertIsInstance(tap.makeService(cast(Options, options)), Command)


class UpgradeTests(CommandCase):
    """Command: upgrades, and a start by one."""

    def predecessor(self) -> Any:
        """@ivar said: why this process cannot start."""
        said: list[str] = []
        return SimpleNamespace(refuse=said.append, said=said)

    def test_signal(self) -> None:
        """USR2 begins an upgrade, and so does the admin endpoint; in a worker neither does."""
        self.start()
        self.send(signal.SIGUSR2)
        self.assertEqual(["upgrade"], self.made[-1].calls)
        self.assertEqual(self.made[-1].upgrade, self.proxy.view.upgrade)
        self.handlers.clear()
        self.proxy = FakeProxy()
        self.start(FakeLink())
        self.assertNotIn(signal.SIGUSR2, self.handlers)
        self.assertFalse(hasattr(self.proxy.view, "upgrade"))

    def test_supervisor(self) -> None:
        """USR2 begins the upgrade of all workers."""
        self.patch(tap, "ProxyService", int)
        self.start()
        self.send(signal.SIGUSR2)
        self.assertEqual(([], ["upgrade workers"]), (self.made, self.proxy.calls))

    def test_take_over(self) -> None:
        """A process that an upgrade has started is ready when it is in charge; it writes the pid file then."""
        logged: list[LogEvent] = []
        keep: Any = logged.append
        self.patch(tap, "log", Logger("tap", observer=keep))
        parent, path = {"nodaemon": True, "pidfile": ""}, Path(self.mktemp())
        command = self.command(None, parent, predecessor=self.predecessor(), pid_file=str(path))
        command.privilegedStartService()
        self.assertEqual((["take over"], [], False), (self.made[-1].calls, logged, path.exists()))
        self.made[-1].ready()
        self.assertIn("ready: 0 routes", formatEvent(logged[0]) or "")
        self.assertEqual((str(os.getpid()), str(path)), (path.read_text(), parent["pidfile"]))

    def test_supervisor_ended(self) -> None:
        """A new worker whose supervisor has ended does not take over."""
        link = FakeLink()
        self.patch(link, "receive_orders", lambda reactor, obey: obey(post.STOP, ""))
        self.command(link, predecessor=self.predecessor()).privilegedStartService()
        self.assertEqual(([], 1), (self.made[-1].calls, self.reactor.stopped))

    def test_first_worker(self) -> None:
        """A supervisor that replaces a process without workers is ready when its first worker is in charge."""
        self.patch(tap, "ProxyService", int)
        given: list[Callable[[], None]] = []
        self.proxy.first = SimpleNamespace(take_over=lambda *callbacks: given.extend(callbacks))
        manager = SimpleNamespace(ready=lambda: self.proxy.calls.append("ready"))
        self.patch(sdnotify, "from_environment", lambda *arguments: manager)
        self.command(predecessor=self.predecessor()).privilegedStartService()
        self.assertEqual([], self.proxy.calls)
        in_charge, failed = given
        in_charge()
        failed()
        self.assertEqual((["ready"], 1), (self.proxy.calls, self.reactor.stopped))

    def test_refused(self) -> None:
        """If it cannot start, the old process knows the reason."""
        self.proxy = FakeProxy(CannotStart("no room"))
        predecessor = self.predecessor()
        command = self.command(predecessor=predecessor)
        self.assertEqual(1, self.ended(command.privilegedStartService)[0])
        self.assertEqual(["no room"], predecessor.said)

    def test_retired(self) -> None:
        """When another process is in charge, this one watches no file and reports to no manager; it can stop."""
        calls: list[str] = []
        manager = SimpleNamespace(ready=lambda: calls.append("ready"), stopping=lambda: calls.append("stopping"))
        self.patch(sdnotify, "from_environment", lambda *arguments: manager)
        command = self.start()
        stopped: list[int | None] = []
        stop = Reloader.stop

        def stop_and_note(reloader: Reloader, successor: int | None = None) -> None:
            stopped.append(successor)
            stop(reloader, successor)

        self.patch(Reloader, "stop", stop_and_note)
        self.made[-1].retired(4321)
        self.made[-1].stop()
        self.made[-1].stop()
        self.successResultOf(command.stopService())
        self.assertEqual((["ready"], 1, ["start", "stop"]), (calls, self.reactor.stopped, self.watched))
        self.assertEqual([4321, None], stopped)

    def test_takeover(self) -> None:
        """The new program of a supervisor handles the signals that wait, then the reload that waits."""
        calls: list[str] = []
        self.patch(tap, "ProxyService", int)
        self.patch(takeover, "unblock", lambda: calls.append(f"unblock after {len(self.handlers)} handlers"))
        self.patch(Reloader, "reload", lambda reloader: calls.append("reload"))
        for waits in (False, True):
            given = SimpleNamespace(
                handover=SimpleNamespace(reload=waits), finish=lambda parent: calls.append(f"finish {parent}")
            )
            parent = {"nodaemon": True, "pidfile": "/run/x.pid"}
            command = self.command(None, parent, takeover=given)
            command.privilegedStartService()
        self.assertEqual(["unblock after 5 handlers", f"finish {parent}"] * 2 + ["reload"], calls)
        self.assertEqual(({}, "/run/x.pid"), command._surroundings())
        manager = SimpleNamespace(environment={"NOTIFY_SOCKET": "a"})
        self.patch(sdnotify, "from_environment", lambda *arguments: manager)
        self.assertEqual(({"NOTIFY_SOCKET": "a"}, ""), self.command()._surroundings())
