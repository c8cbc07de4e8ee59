"""Tests for sniproxy.cli.reload."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy import ctl
from sniproxy.cli import reload
from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.reload import admin_url, run_reload
from sniproxy.config.parser import parse
from tests.server.workers.running import held_port
from tests.support.sockets import in_thread
from tests.support.twistdprocess import TwistdProcess

LISTENER = '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n'


def url(text: str) -> str | None:
    return admin_url(parse(text, "x.toml"))


class UrlTests(TestCase):
    """The admin endpoint of a configuration."""

    def test_kinds(self) -> None:
        """TCP, also on all addresses, and unix sockets; a port that the system chooses is unknown."""
        for endpoint, expected in (
            ("tcp:9090:interface=127.0.0.1", "http://127.0.0.1:9090"),
            ("tcp:9090", "http://127.0.0.1:9090"),
            ("tcp6:9090:interface=\\\\:\\\\:1", "http://[::1]:9090"),
            ("unix:/run/a.sock:mode=660", "unix:/run/a.sock"),
            ("unix:address=/run/a.sock", "unix:/run/a.sock"),
            ("tcp:0:interface=127.0.0.1", None),
        ):
            self.assertEqual(expected, url(f'{LISTENER}[admin]\nendpoint = "{endpoint}"\n'), endpoint)
        self.assertIsNone(url(LISTENER))

    def test_workers(self) -> None:
        """All workers have one."""
        text = f'workers = 2\n{LISTENER}[admin]\nendpoint = "tcp:9090:interface=127.0.0.1"\n'
        self.assertEqual("http://127.0.0.1:9090", url(text))


class ReloadTests(TestCase):
    """The command."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.killed: list[tuple[int, int]] = []
        self.out = io.StringIO()

    def run_with(self, text: str, pid: int = 7) -> str:
        """Reload this file. @return: the output."""
        self.path.write_text(text)
        options = ctl.parse(["reload", "--config", str(self.path), "--pid", str(pid)])
        run_reload(options, self.out, lambda *words: self.killed.append(words), lambda _: None)
        return self.out.getvalue()

    def failed(self, text: str) -> str:
        return str(self.assertRaises(CommandFailed, self.run_with, text))

    def answers(self, *counts: tuple[int, int, str | None] | None) -> None:
        """Let the endpoint answer these counts of reloads, one after the other. None: it is silent."""
        rest = list(counts)

        def fetch(url: str, tunnels: int | None = None) -> dict[str, object]:
            found = rest.pop(0) if len(rest) > 1 else rest[0]
            if found is None:
                raise AdminError("silent")
            succeeded, failed, error = found
            return {"configuration": {"reloads": {"succeeded": succeeded, "failed": failed, "error": error}}}

        self.patch(reload, "fetch_status", fetch)

    ADMIN = LISTENER + '[admin]\nendpoint = "tcp:9090:interface=127.0.0.1"\n'

    def test_invalid(self) -> None:
        """An invalid file is not sent; the error is that of --check."""
        self.assertIn("route[0].server_name: missing", self.failed(LISTENER + "[[route]]\n"))
        self.path.write_bytes(b"\xff")
        options = ctl.parse(["reload", "--config", str(self.path), "--pid", "7"])
        self.assertIn("not UTF-8", str(self.assertRaises(CommandFailed, run_reload, options, self.out)))
        os.unlink(self.path)
        self.assertIn(
            "cannot be read: No such file", str(self.assertRaises(CommandFailed, run_reload, options, self.out))
        )
        self.assertEqual([], self.killed)

    def test_no_admin(self) -> None:
        """Without an endpoint, or with one that did not answer, the result is in the log."""
        self.assertIn("the file has no [admin] endpoint, so the log has the result", self.run_with(LISTENER))
        self.answers(None)
        self.assertIn("no [admin] endpoint answered before", self.run_with(self.ADMIN))
        self.assertEqual([(7, signal.SIGHUP)] * 2, self.killed)

    def test_reloaded(self) -> None:
        """It waits until the proxy has counted the reload, also if it is silent meanwhile."""
        self.answers((1, 2, None), (1, 2, None), None, (2, 2, None))
        self.assertEqual("reloaded: 0 routes\n", self.run_with(self.ADMIN))

    def test_refused(self) -> None:
        """The reason is that of the proxy."""
        self.answers((1, 2, None), (1, 3, "port in use"))
        self.assertEqual("reload failed, the proxy keeps its configuration: port in use", self.failed(self.ADMIN))

    def test_no_result(self) -> None:
        """A proxy that does not reload in time."""
        self.answers((1, 2, None))
        self.assertIn("no result after 60 s from http://127.0.0.1:9090", self.failed(self.ADMIN))

    def test_no_process(self) -> None:
        """A process that is gone, or of another user."""

        def kill(pid: int, number: int) -> None:
            raise ProcessLookupError(3, "No such process")

        self.path.write_text(LISTENER)
        options = ctl.parse(["reload", "-c", str(self.path), "--pid", "7"])
        error = self.assertRaises(CommandFailed, run_reload, options, self.out, kill)
        self.assertEqual("cannot send HUP to process 7: No such process", str(error))

    async def test_program(self) -> None:
        """A running proxy, one process and two workers: reloaded, and a file that it refuses."""
        for workers in ("", "workers = 2\n"):
            port = held_port(self) if workers else 0
            text = (
                f'{workers}[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n'
                f'[admin]\nendpoint = "unix:{self.path}{len(workers)}.sock"\n'
            )
            self.path.write_text(text)
            running = TwistdProcess(self, ["--config", str(self.path)])
            if workers:
                running.wait_for("all listening")
                running.wait_for("ready:")
            process = running.process
            self.addCleanup(process.terminate)
            words = ["reload", "--config", str(self.path), "--pid", str(process.pid)]
            for more, status, said in (("", 0, "reloaded: 0 routes"), ("[[route]]\n", 1, "server_name: missing")):
                self.path.write_text(text + more)
                out, error = io.StringIO(), io.StringIO()
                streams = ctl.Streams(io.BytesIO(), out, error)
                self.assertEqual(status, await in_thread(ctl.main, words, streams), error.getvalue())
                self.assertIn(said, out.getvalue() + error.getvalue())
