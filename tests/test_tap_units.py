"""Options and Command of sniproxy.tap, in the process of the test; test_tap runs the program."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__, tap
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.config.workers import CannotStart
from sniproxy.server.workers import post, twistdoptions
from sniproxy.server.workers.supervisor import Supervisor
from sniproxy.service import ProxyService
from sniproxy.tap import Command, NotStarted, Options
from sniproxy.util.reactor import IReactor

SHARED = '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n'
LISTENER = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'


class OutputCase(SynchronousTestCase):
    """Reads what is printed."""

    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)

    def ended(self, function: Callable[..., object], *args: Any) -> tuple[object, str, str]:
        """Call a function that ends the program. @return: exit status, standard output, standard error."""
        error = self.assertRaises(SystemExit, function, *args)
        return error.code, self.out.getvalue(), self.err.getvalue()


class OptionsTests(OutputCase):
    """Options: what each command line means."""

    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def options(self, *arguments: str, parent: dict[str, Any] | None = None) -> Options:
        options = Options()
        options.parent = cast(Any, parent)
        if parent is not None:
            self.addCleanup(gc.unfreeze)
        options.parseOptions(list(arguments))
        return options

    def test_said(self) -> None:
        """--help, --version and the types of resolvers end the program after they are printed."""
        for arguments, said in (
            (("--help",), "--access-log"),
            (("--version",), f"sniproxy {__version__}\n"),
            (("--help-resolvers",), "static"),
            (("--help-resolver", "static"), "target"),
            (("--listen", "tcp:4443", "--route", "a.test=b.test", "--check"), "the configuration is valid"),
        ):
            self.setUp()
            status, out, err = self.ended(self.options, *arguments)
            self.assertEqual((0, ""), (status, err))
            self.assertIn(said, out)

    def test_user(self) -> None:
        """A user of twistd's that cannot dial from clients' addresses is refused, before the user is changed."""
        path = self.file(f'{LISTENER}[default]\ntarget = "a.test"\ntarget_source = "client"\n')
        parent = {"nodaemon": True, "pidfile": twistdoptions.PID_FILE, "logger": None, "uid": 65534}
        status, _, err = self.ended(lambda: self.options("--config", path, parent=parent))
        self.assertEqual(1, status)
        self.assertIn('default.target_source = "client": twistd --uid drops the capability for it', err)

    def test_errors(self) -> None:
        """Each error is one line with the cure, status 1."""
        binary = Path(self.mktemp())
        binary.write_bytes(b"\xff")
        for arguments, said in (
            (("--help-resolver", "odd"), '--help-resolver: unknown type "odd"; types: '),
            (("--odd",), "option --odd not recognized; twistd sniproxy --help lists the options"),
            (("x.toml",), "x.toml: unexpected argument; for a configuration file, write --config x.toml"),
            ((), "nothing to do: give --config FILE"),
            (("--config", "x", "--listen", "tcp:1"), "--config cannot be combined with --listen or --route"),
            (("--config", "/nonexistent"), "/nonexistent: cannot be read: No such file or directory"),
            (("--config", str(binary)), f"{binary}: cannot be read: it is not UTF-8"),
        ):
            self.setUp()
            status, out, err = self.ended(self.options, *arguments)
            self.assertEqual((1, ""), (status, out))
            self.assertTrue(err.startswith(f"sniproxy: {said}"), err)
            self.assertEqual(1, err.count("\n"))

    def test_file(self) -> None:
        """A file is read, and again for a reload; the paths are absolute, because twistd may change its directory."""
        path = self.file(LISTENER)
        options = self.options("--config", path, "--access-log", "access.log")
        self.assertEqual(str(Path(path).absolute()), options.path)
        self.assertIsInstance(options.proxy, ProxyService)
        self.assertEqual(str(Path("access.log").absolute()), options.proxy.configuration.access_log)
        Path(path).write_text(f"{LISTENER}[timeouts]\nhello = 3\n")
        self.assertEqual(3.0, options.again().timeouts.hello)
        Path(path).write_text(f"workers = 2\n{SHARED}")
        error = self.assertRaises(ConfigError, options.again)
        self.assertEqual(f"{path}: workers = 2: 1 at start; restart to change it", str(error))
        self.assertEqual("-", self.options("--listen", "tcp:1", "--access-log", "-").proxy.configuration.access_log)

    def test_no_file(self) -> None:
        """A configuration of the command line has no file to reload."""
        options = self.options("--listen", "tcp:0:interface=127.0.0.1", "--route", "a.test=b.test")
        self.assertEqual((None, 1), (options.path, len(options.proxy.configuration.routes)))
        self.assertIn("there is no file to reload", str(self.assertRaises(ConfigError, options.again)))

    def test_workers(self) -> None:
        """With several workers the program supervises them."""
        options = self.options("--config", self.file(f"workers = 2\n{SHARED}"))
        self.assertIsInstance(options.proxy, Supervisor)

    def test_worker(self) -> None:
        """A worker serves the text that its supervisor passes, whatever is in the file, and has no warnings."""
        link = post.SupervisorLink(1, f"workers = 2\n{SHARED}[timeouts]\nhello = 3\n", -1, -1)
        self.patch(post, "from_environment", lambda: link)
        options = self.options("--config", self.file("bad"))
        self.assertIsInstance(options.proxy, ProxyService)
        self.assertEqual((None, 3.0, []), (options.path, options.proxy.configuration.timeouts.hello, options.warnings))

    def test_twistd(self) -> None:
        """twistd gets the observer of lines; a reactor without a steady clock is refused."""
        steady = [True, False]
        self.patch(twistdoptions, "set_steady_clock", lambda reactor: steady.pop(0))
        parent: dict[str, Any] = {"nodaemon": True, "pidfile": twistdoptions.PID_FILE, "logger": None}
        arguments = ("--config", self.file(LISTENER))
        self.options(*arguments, parent=parent)
        self.assertEqual(("sniproxy.logs.twistd.observer", ""), (parent["logger"], parent["pidfile"]))
        status, _, err = self.ended(lambda: self.options(*arguments, parent=parent))
        self.assertEqual((1, "sniproxy: --reactor: "), (status, err[:21]))


class FakeProxy:
    """A proxy that records its calls. @param error: raised at the start. @param refuses: why it refuses a reload."""

    def __init__(self, error: Exception | None = None, refuses: str | None = None) -> None:
        self.calls: list[str] = []
        self.configuration = parse(LISTENER, "x.toml")
        self.error = error
        self.refuses = refuses

    def startService(self) -> None:
        if self.error is not None:
            raise self.error

    def stopService(self) -> Deferred[None]:
        self.calls.append("stop")
        return succeed(None)

    def end_now(self) -> None:
        self.calls.append("end")

    def reopen_logs(self) -> None:
        self.calls.append("reopen")

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        try:
            read()
        except ConfigError as error:
            self.calls.append(f"reload: {error}")
            return succeed(str(error))
        self.calls.append("reload")
        return succeed(self.refuses)

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        why: list[str | None] = []
        self.reload_beside(read).addCallback(why.append)
        return why[0]


class FakeLink:
    """A worker's link that records its reports."""

    def __init__(self) -> None:
        self.text = ""
        self.reports: list[str] = []
        self.obey: Callable[[str, str], None] = lambda what, text: None

    def receive_orders(self, reactor: object, obey: Callable[[str, str], None]) -> None:
        self.obey = obey

    def report(self, what: str) -> None:
        self.reports.append(what)


class FakeReactor:
    """Calls at once. @ivar stopped: how often it was stopped."""

    stopped = 0

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        function()

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()

    def stop(self) -> None:
        self.stopped += 1


class CommandTests(OutputCase):
    """Command: signals, and orders of a supervisor."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy, self.reactor = FakeProxy(), FakeReactor()
        self.handlers: dict[int, Callable[..., None]] = {}
        self.passed: list[int] = []
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(signal, "getsignal", lambda number: lambda number, frame: self.passed.append(number))

    def command(self, link: FakeLink | None = None, parent: dict[str, Any] | None = None, *warnings: str) -> Command:
        options = SimpleNamespace(
            proxy=self.proxy,
            post=link,
            parent=parent,
            warnings=list(warnings),
            again=lambda: self.proxy.configuration,
            path=None,
        )
        return Command(cast(Options, options), cast(IReactor, self.reactor))

    def start(self, link: FakeLink | None = None) -> Command:
        command = self.command(link)
        command.privilegedStartService()
        return command

    def send(self, number: int) -> None:
        self.handlers[number](number, None)

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
        self.assertEqual([post.READY, post.HEARTBEAT, post.RELOADED, post.REFUSED], link.reports)
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
        options = SimpleNamespace(proxy=self.proxy, post=None, parent=None, warnings=[], again=None, path=None)
        self.assertIsInstance(tap.makeService(cast(Options, options)), Command)
