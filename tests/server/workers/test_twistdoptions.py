"""Tests for sniproxy.server.workers.twistdoptions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.pollreactor import PollReactor
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.workers import twistdoptions
from tests.support.sockets import TIMEOUT_S

ROOT = Path(__file__).parent.parent.parent.parent
USER = 65_534


class PidFileTests(SynchronousTestCase):
    """twistd's pid file."""

    def settled(self, words: list[str], pidfile: str = "twistd.pid", *, nodaemon: bool = True) -> object:
        options = {"pidfile": pidfile, "nodaemon": nodaemon}
        twistdoptions.adjust_pid_file(options, words)
        return options["pidfile"]

    def test_foreground(self) -> None:
        """In the foreground there is a pid file only on request; a daemon has one."""
        self.assertEqual("", self.settled(["-n", "sniproxy"]))
        self.assertEqual("twistd.pid", self.settled(["-n", "--pidfile", "twistd.pid"]))
        self.assertEqual("x", self.settled(["-n", "--pidfile=x"], "x"))
        self.assertEqual("twistd.pid", self.settled(["sniproxy"], nodaemon=False))

    def test_other_program(self) -> None:
        """The options of a program other than twistd stay unchanged."""
        options: dict[str, object] = {"nodaemon": True}
        twistdoptions.adjust_pid_file(options, [])
        self.assertEqual({"nodaemon": True}, options)

    def test_own_process(self) -> None:
        """A pid file that names this process is stale and removed; others stay."""
        path = Path(self.mktemp())
        for text, stays in ((str(os.getpid()), False), (str(os.getppid()), True), ("x", True), ("", True)):
            path.write_text(text)
            self.settled([], str(path))
            self.assertEqual(stays, path.exists(), text)


class WorkerCountTests(SynchronousTestCase):
    """check_worker_count."""

    def test_changed(self) -> None:
        """A reload does not change the number of workers."""
        found = parse('workers = 3\n[[listener]]\nendpoint = "tcp:1"\n', "x.toml")
        twistdoptions.check_worker_count(found, 3)
        error = self.assertRaises(ConfigError, twistdoptions.check_worker_count, found, 2)
        self.assertEqual("x.toml: workers = 3: 2 at start; upgrade or restart to change it", str(error))


class AccessLogTests(SynchronousTestCase):
    """The path of the access log."""

    def test_standard_output(self) -> None:
        """The access log or the inspector's log may use standard output."""
        listener = '[[listener]]\nendpoint = "tcp:1"\n'
        for text, expected in (
            ("", False), ('[access_log]\npath = "a"\n', False), ('[access_log]\npath = "-"\n', True),
            ('[inspect_log]\npath = "-"\n', True),
        ):  # fmt: skip
            found = twistdoptions.uses_standard_output(parse(listener + text, "/etc/x.toml"))
            self.assertEqual(expected, found, text)

    def test_absolute(self) -> None:
        """It is absolute from now on; standard output and no access log stay."""
        text = '[[listener]]\nendpoint = "tcp:1"\n'
        for given, expected in (("a.log", os.path.abspath("a.log")), ("-", "-"), (None, None)):
            made = twistdoptions.with_absolute_log(parse(text, "x.toml", access_log=given))
            self.assertEqual(expected, made.access_log)


class WorkerTests(SynchronousTestCase):
    """Options of workers."""

    def test_refused(self) -> None:
        """Options that a restarted worker could not follow are refused."""
        found = parse('workers = 3\n[[listener]]\nendpoint = "systemd:domain=INET:index=0"\n', "x.toml")
        for name in ("uid", "gid", "chroot"):
            error = self.assertRaises(ConfigError, twistdoptions.check_workers, {name: 1}, found, False)
            self.assertIn(f"twistd --{name} cannot be used with workers", str(error))
        for twistd in ({"uid": None}, None):
            twistdoptions.check_workers(twistd, found, False)
        error = self.assertRaises(ConfigError, twistdoptions.check_workers, None, found, True)
        said = "x.toml: workers = 3: 1 at start, and workers get the socket of listener[0] from systemd; restart to"
        self.assertIn(said, str(error))

    def test_arguments(self) -> None:
        """A worker gets the configuration file, and the access log as an absolute path or as standard output."""
        plain = twistdoptions.worker_arguments("x.toml", None)
        self.assertEqual(["sniproxy", "--config", "x.toml"], plain[-3:])
        self.assertEqual([*plain, "--access-log", "-"], twistdoptions.worker_arguments("x.toml", "-"))
        self.assertEqual([*plain, "--access-log", os.path.abspath("a")], twistdoptions.worker_arguments("x.toml", "a"))


class ClockTests(SynchronousTestCase):
    """The clock of other reactors."""

    def test_steady(self) -> None:
        """Twisted's reactors get a monotonic clock, also for delayed calls."""
        reactor = PollReactor()
        self.addCleanup(reactor.removeAll)
        self.assertTrue(twistdoptions.set_steady_clock(reactor))
        self.assertTrue(isinstance(reactor, ReactorBase))
        self.assertLess(abs(reactor.seconds() - time.monotonic()), 60)
        self.assertLess(abs(reactor.callLater(100, int).getTime() - time.monotonic()), 160)

    def test_time_of_day_is_set(self) -> None:
        """Whoever sets the time of day, back or forward, what is due comes, and what is not yet due does not."""
        for change in (-3600, 3600):
            program = (
                "import time\n"
                "really, change = time.time, 0\n"
                "time.time = lambda: really() + change\n"
                "from twisted.internet import reactor\n"
                "from sniproxy.server.workers.twistdoptions import set_steady_clock\n"
                "set_steady_clock(reactor)\n"
                "def begin():\n"
                "    global change\n"
                "    reactor.callLater(1800, print, 'too soon')\n"
                "    reactor.callLater(0.01, reactor.callLater, 0.01, reactor.stop)\n"
                f"    change = {change}\n"
                "reactor.callWhenRunning(begin)\n"
                "reactor.run()\n"
                "print('ended')\n"
            )
            ran = subprocess.run(
                [sys.executable, "-c", program],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            self.assertEqual(("ended\n", 0), (ran.stdout, ran.returncode), ran.stderr)

    def test_refused(self) -> None:
        """Another reactor is refused."""
        self.assertFalse(twistdoptions.set_steady_clock(object()))


class LogTests(SynchronousTestCase):
    """Log files when twistd changes its user."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.log = self.folder.absolute() / "access.jsonl"
        self.log.write_text("")
        self.patch(os, "geteuid", lambda: 0)
        self.given: list[tuple[object, ...]] = []
        self.patch(os, "chown", lambda path, uid, gid, follow_symlinks: self.given.append((path, uid, gid)))

    def configuration(self) -> Configuration:
        text = '[[listener]]\nendpoint = "tcp:0"\n[[route]]\nserver_name = "a"\ntarget = "h:1"\n'
        return parse(text + f'[access_log]\npath = "{self.log}"\n', "p.toml")

    def warnings(self, uid: int | None = USER) -> list[str]:
        return twistdoptions.log_rotation_warnings({"uid": uid, "gid": USER}, self.configuration())

    def test_warned(self) -> None:
        """A folder in which the user cannot create files gives a warning with the cure."""
        self.folder.chmod(0o755)
        (warning,) = self.warnings()
        self.assertIn(f"--uid {USER} cannot create files in {self.log.parent}", warning)
        self.folder.chmod(0o777)
        self.assertEqual([], self.warnings())
        self.folder.chmod(0o755)
        self.assertEqual([], self.warnings(None))
        self.assertEqual([], self.warnings(0))

    def test_handed_over(self) -> None:
        """A log that root has created is given to the user."""
        twistdoptions.chown_logs({"uid": USER, "gid": USER}, self.configuration())
        wanted = [(str(self.log), USER, USER)] if self.log.stat().st_uid == 0 else []
        self.assertEqual(wanted, self.given)
        self.given.clear()
        twistdoptions.chown_logs({"uid": None, "gid": None}, self.configuration())
        self.assertEqual([], self.given)
