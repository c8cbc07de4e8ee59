"""Tests for sniproxy.cli.run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.run import TWISTD, run_proxy, twistd_arguments
from tests.support import programs
from tests.support.sockets import TIMEOUT_S
from tests.support.twistdprocess import ENVIRONMENT

CTL = (sys.executable, "-c", "import sys; from sniproxy.ctl import main; sys.exit(main())")
LISTENER = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n[default]\ntarget = "a.test"\n'


class ArgumentsTests(SynchronousTestCase):
    """The command line of twistd."""

    def test_arguments(self) -> None:
        """Each option is passed on; values may begin with a dash."""
        for words, expected in (
            (["--config", "x.toml"], ["--config=x.toml"]),
            (["-c", "x.toml", "-a", "-", "--check"], ["--config=x.toml", "--access-log=-", "--check"]),
            (
                ["-l", "tcp:1", "-l", "tcp:2", "-r", "a.test=b:1"],
                ["--listen=tcp:1", "--listen=tcp:2", "--route=a.test=b:1"],
            ),
        ):
            self.assertEqual([*TWISTD, *expected], twistd_arguments(ctl.parse(["run", *words])))

    def test_run(self) -> None:
        """twistd's own main function runs with these arguments."""
        seen: list[list[str]] = []
        self.patch(sys, "argv", ["before"])
        self.patch(twistd, "run", lambda: seen.append(list(sys.argv)))
        self.assertEqual(0, run_proxy(ctl.parse(["run", "--config", "x.toml"])))
        self.assertEqual([[*TWISTD, "--config=x.toml"]], seen)


class ProcessTests(SynchronousTestCase):
    """The program."""

    def started(self, text: str) -> tuple[subprocess.Popen[str], list[str]]:
        """Start it. @return: the process, and the lines of its log until it is ready."""
        path = Path(self.mktemp())
        path.write_text(text + LISTENER)
        process: subprocess.Popen[str] = programs.start(
            self, [*CTL, "run", "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT,
        )  # fmt: skip
        assert process.stderr is not None
        lines = []
        with programs.killed_after(process):
            for line in process.stderr:
                lines.append(line)
                if "ready:" in line:
                    return process, lines
        raise AssertionError(f"not ready: {lines}")

    def test_log(self) -> None:
        """The log is on standard error; standard output has nothing; there is no pid file."""
        process, lines = self.started("")
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual("", out)
        self.assertIn("stopped:", rest)
        self.assertIn("#info] ready: 0 routes", lines[-1])
        self.assertFalse(os.path.exists("twistd.pid"))

    def test_json(self) -> None:
        """Each line of the log is a JSON object if the configuration says so."""
        process, lines = self.started('[log]\nformat = "json"\n')
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=TIMEOUT_S)
        documents = [json.loads(line) for line in [*lines, *rest.splitlines()]]
        ready = [one for one in documents if one["message"].startswith("ready:")]
        self.assertEqual([("info", "sniproxy.tap")], [(one["level"], one["logger"]) for one in ready])
        for one in documents:
            self.assertEqual(["time", "level", "logger", "message"], list(one))
            self.assertRegex(one["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_check(self) -> None:
        """--check prints the summary on standard output."""
        path = Path(self.mktemp())
        path.write_text(LISTENER)
        done = programs.run(
            [*CTL, "run", "--check", "-c", str(path)], capture_output=True, text=True, env=ENVIRONMENT,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertIn("access log", done.stdout)
