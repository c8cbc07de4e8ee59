"""Tests for sniproxy.cli.commands."""

from __future__ import annotations

import argparse
import io
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Never

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli import commands, reload
from sniproxy.cli.commands import Streams, add_commands
from sniproxy.cli.explain import command as explain_command
from tests.support import programs
from tests.support.reactor import reactor


class UsageError(Exception):
    """What the usage errors of the tests' parser raise."""


class Parser(argparse.ArgumentParser):
    """A parser that raises errors."""

    def error(self, message: str) -> Never:
        raise UsageError(message)


class CommandTests(SynchronousTestCase):
    """Commands that do not read captures."""

    def test_there(self) -> None:
        """Each command is in the help, with its purpose."""
        said = ctl.parser()[0].format_help()
        summary = " ".join(said.split("\n\n")[1].split())
        for what in ("captures", "look up topics", "explain the route of a server name", "proxies and drain them"):
            self.assertIn(what, summary)
        for command in ("lookup", "explain", "status", "drain"):
            self.assertIn(f"\n    {command} ", said)

    def test_light(self) -> None:
        """Registering the commands does not import Twisted."""
        program = "import sys, sniproxy.ctl; sniproxy.ctl.parser(); print('twisted' in sys.modules)"
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual("False\n", ran.stdout)

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """The exit status, the output and the errors of a command."""
        top = Parser()
        add_commands(top.add_subparsers())
        options = top.parse_args(arguments)
        out, error = io.StringIO(), io.StringIO()
        status = options.run(options, Streams(io.BytesIO(), out, error))
        return status, out.getvalue(), error.getvalue()

    def test_admin_errors(self) -> None:
        """A proxy that cannot be reached is one line and status 1, in status and in drain."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for command in (("status", url), ("drain", "a.test", "--admin", url)):
            status, out, error = self.run_command(*command)
            self.assertEqual((1, ""), (status, out))
            self.assertRegex(error, r"\Asniproxyctl: [^\n]*Connection refused; check that this is [^\n]*\n\Z")

    def test_default_url(self) -> None:
        """Without a URL, status queries the endpoint of the manual's samples, also with --watch."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            self.patch(commands, "DEFAULT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        for options in ((), ("--watch",)):
            status, _, error = self.run_command("status", *options)
            self.assertEqual(1, status)
            self.assertIn("Connection refused", error)

    def test_files(self) -> None:
        """A file that cannot be read is one line and status 1, in import and in who."""
        for command in (("import", "missing.conf"), ("who", "10.0.0.1:1", "--log", "missing.log")):
            status, _, error = self.run_command(*command)
            self.assertEqual(1, status)
            self.assertRegex(error, r"\Asniproxyctl: [^\n]*missing\.(conf|log)[^\n]*\n\Z")

    def test_reload(self) -> None:
        """Each error of a file is a line, and the status is 1; a reload prints its result."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("[[listener]]\n[[route]]\n")
        status, out, error = self.run_command("reload", "--config", path, "--pid", "99999999")
        self.assertEqual((1, ""), (status, out))
        self.assertEqual(["sniproxyctl"] * 3, [line.partition(":")[0] for line in error.splitlines()])
        self.patch(reload, "run_reload", lambda options, out: print(options.pid, file=out) or 0)
        self.assertEqual((0, "7\n", ""), self.run_command("reload", "--config", path, "--pid", "7"))

    def test_usage(self) -> None:
        """Bad values of lookup and explain are usage errors of the command."""

        def run_now(command: Callable[[object], Coroutine[Any, Any, int]]) -> None:
            running = Deferred.fromCoroutine(command(reactor))
            self.failureResultOf(running).raiseException()

        self.patch(explain_command, "run_in_reactor", run_now)
        for command, said in (
            (("lookup", "t", "--service-url", "http://a.test"), "http://a.test"),
            (("explain", "a.test", "--config", "missing.toml"), "missing.toml: cannot be read: No such file"),
        ):
            self.assertIn(said, str(self.assertRaises(UsageError, self.run_command, *command)))
