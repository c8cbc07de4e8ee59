"""Options of sniproxy.tap, in the process of the test; test_tap runs the program."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sniproxy import __version__, tap
from sniproxy.config.schema import ConfigError
from sniproxy.server.upgrade.predecessor import NoOffer
from sniproxy.server.workers import post, takeover, twistdoptions
from sniproxy.server.workers.handover import BadHandover
from sniproxy.server.workers.supervisor import Supervisor
from sniproxy.server.workers.takeover import Takeover
from sniproxy.service import ProxyService
from sniproxy.tap import Options
from sniproxy.util.gcpause import unfreeze
from tests.server.workers.handovers import handover
from tests.support.sockets import freeze_loaded
from tests.support.tapcommand import LISTENER, SHARED, OutputCase


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
            self.addCleanup(freeze_loaded.cache_clear)
            self.addCleanup(unfreeze)
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
        self.assertEqual(f"{path}: workers = 2: 1 at start; upgrade or restart to change it", str(error))
        self.assertEqual("-", self.options("--listen", "tcp:1", "--access-log", "-").proxy.configuration.access_log)

    def test_takeover(self) -> None:
        """A supervisor's new program has the configuration of the workers, at a reload the file's; a check answers."""
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        self.addCleanup(os.close, writes)
        given = Takeover(handover(text=f"workers = 2\n{SHARED}"), writes)
        self.patch(takeover, "received", lambda: given)
        path = self.file(f"workers = 2\n{SHARED}[timeouts]\nhello = 3\n")
        options = self.options("--config", path)
        self.assertEqual(10.0, options.proxy.configuration.timeouts.hello)
        self.assertEqual(3.0, options.again().timeouts.hello)
        for workers in (1, 3):
            Path(path).write_text(f"workers = {workers}\n{SHARED}")
            self.assertEqual(workers, options.changed().workers)
            self.assertIn("restart to change it", str(self.assertRaises(ConfigError, options.again)))
        self.patch(takeover, "received", lambda: Takeover(given.handover, writes))
        self.assertEqual(0, self.ended(self.options, "--config", path, "--check")[0])
        self.assertEqual(b"ok\n", os.read(reads, 16))

    def test_one_worker(self) -> None:
        """A supervisor's new program is a supervisor, also with one worker; any other program needs none for that."""
        path = self.file(SHARED)
        self.assertIsInstance(self.options("--config", path).proxy, ProxyService)
        self.patch(takeover, "received", lambda: Takeover(handover(text=SHARED), None))
        self.assertIsInstance(self.options("--config", path).proxy, Supervisor)

    def test_bad_takeover(self) -> None:
        """A document that this program cannot read ends it."""

        def received() -> None:
            raise BadHandover("another version")

        self.patch(takeover, "received", received)
        self.assertEqual((1, "", "sniproxy: another version\n"), self.ended(self.options, "--listen", "tcp:1"))

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

    def test_no_offer(self) -> None:
        """A process that an upgrade has started ends if the old one does not offer what it can take."""

        def read(keeper: object) -> None:
            raise NoOffer("upgrade: restart instead")

        self.patch(tap, "read_offer", read)
        self.assertEqual((1, "", "sniproxy: upgrade: restart instead\n"), self.ended(self.options, "-c", "x.toml"))

    def test_predecessor(self) -> None:
        """It gets the old process, and its pid file; if its configuration is invalid, the old process knows why."""
        refused: list[str] = []
        predecessor = SimpleNamespace(refuse=refused.append, take_admin=None)
        self.patch(tap, "read_offer", lambda keeper: predecessor)
        parent: dict[str, Any] = {"pidfile": "twistd.pid", "nodaemon": False}
        options = self.options("--config", self.file(LISTENER), parent=parent)
        self.assertEqual((predecessor, "twistd.pid", ""), (options.predecessor, options.pid_file, parent["pidfile"]))
        self.assertEqual([], refused)
        status, _, said = self.ended(self.options, "--config", self.file("x = 1"))
        lines = "".join(f"sniproxy: {line}\n" for line in refused[0].split("\n"))
        self.assertEqual((1, lines), (status, said))
