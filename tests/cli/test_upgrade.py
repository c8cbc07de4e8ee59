"""Tests for sniproxy.cli.upgrade, against a running proxy whose upgrade the test ends."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.admin.sources import UpgradeReport
from sniproxy.admin.upgrades import NO_UPGRADE
from sniproxy.cli import upgrade
from sniproxy.cli.upgrade import upgrade_line
from tests.admin.token import admin_with_token, token_file
from tests.support.conversation import route
from tests.support.proxies import Proxy
from tests.support.sockets import SocketTestCase, in_thread

FILE = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'


class LineTests(SynchronousTestCase):
    """The result in one line."""

    def test_lines(self) -> None:
        """Tunnels that stay are named with the old process; without any, it is not."""
        for moved, stayed, expected in (
            (300, 2, "serves 300 tunnels; 2 tunnels stay with pid 42 until they end"),
            (1, 1, "serves 1 tunnel; 1 tunnel stays with pid 42 until it ends"),
            (0, 0, "serves 0 tunnels"),
        ):
            document = {"pid": 47, "old_pid": 42, "moved": moved, "stayed": stayed, "seconds": 0.84}
            self.assertEqual(f"upgraded in 0.8 s: pid 47 {expected}", upgrade_line(document))

    def test_workers(self) -> None:
        """A supervisor stays, and its workers are replaced."""
        document = {"pid": 42, "old_pid": 42, "moved": 3, "stayed": 1, "seconds": 8.0}
        expected = "the workers of pid 42 serve 3 tunnels; 1 tunnel stays with the old workers until it ends"
        self.assertEqual(f"upgraded in 8.0 s: {expected}", upgrade_line(document))


class UpgradeTests(SocketTestCase):
    """The command."""

    def serve(self) -> Proxy:
        """A proxy with an admin endpoint on a Unix socket."""
        folder = tempfile.TemporaryDirectory(prefix="s-")  # the path of a UNIX socket must be short
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "admin"
        self.url = f"unix:{self.path}.sock"
        return Proxy(self, f'{route("127.0.0.1:9")}[admin]\nendpoint = "{self.url}"\n')

    async def ctl(self, *words: str) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        status = await in_thread(ctl.main, ["upgrade", *words], ctl.Streams(io.BytesIO(), out, error))
        return status, out.getvalue(), error.getvalue()

    async def test_upgraded(self) -> None:
        """The command waits for the end of the upgrade, and prints its result, by an endpoint or a file."""
        proxy = self.serve()
        self.path.write_text(f'{FILE}[admin]\nendpoint = "{self.url}"\n')
        begun: Deferred[None] = Deferred()
        report: Deferred[UpgradeReport] = Deferred()

        def begin() -> Deferred[UpgradeReport]:
            begun.callback(None)
            return report

        proxy.service.view.upgrade = begin
        running = Deferred.fromCoroutine(self.ctl("--admin", self.url))
        await begun
        self.assertNoResult(running)
        report.callback(UpgradeReport(None, 47, 3, 0, 0.84))
        expected = "upgraded in 0.8 s: pid 47 serves 3 tunnels\n"
        self.assertEqual((0, expected, ""), await running)
        proxy.service.view.upgrade = lambda: succeed(UpgradeReport(None, 47, 3, 0, 0.84))
        self.assertEqual((0, expected, ""), await self.ctl("--config", str(self.path)))
        status, out, _ = await self.ctl("--json", "--config", str(self.path))
        expected_json = {"pid": 47, "old_pid": os.getpid(), "moved": 3, "stayed": 0, "seconds": 0.84}
        self.assertEqual((0, expected_json), (status, json.loads(out)))

    async def test_failed(self) -> None:
        """The reason is printed line by line, without control characters, and the status is 1."""
        proxy = self.serve()
        self.assertEqual((1, "", f"sniproxyctl: no upgrade: {NO_UPGRADE}\n"), await self.ctl("--admin", self.url))
        why = "the new process refuses the file:\nroute[0]\x1b[2J: m\u00fcssing"
        proxy.service.view.upgrade = lambda: succeed(UpgradeReport(why))
        status, out, error = await self.ctl("--admin", self.url)
        self.assertEqual((1, ""), (status, out))
        first, second = error.splitlines()
        self.assertEqual("sniproxyctl: upgrade failed: the new process refuses the file:", first)
        self.assertEqual("sniproxyctl: route[0]\\x1b[2J: m\\xfcssing", second)

    async def test_token(self) -> None:
        """Over TCP the token is that of the option, or that of the file's token_file."""
        token = token_file(self)
        proxy = Proxy(self, route("127.0.0.1:9") + admin_with_token(token))
        proxy.service.view.upgrade = lambda: succeed(UpgradeReport(None, 47))
        assert proxy.service.admin_address is not None
        _, port = proxy.service.admin_address
        status, _, error = await self.ctl("--admin", f"127.0.0.1:{port}")
        self.assertEqual((1, True), (status, error.startswith("sniproxyctl: HTTP 403: missing or wrong token")))
        self.assertEqual(0, (await self.ctl("--admin", f"127.0.0.1:{port}", "--token-file", str(token)))[0])
        path = Path(self.mktemp())
        path.write_text(FILE + admin_with_token(token).replace("tcp:0", f"tcp:{port}"))
        self.assertEqual(0, (await self.ctl("--config", str(path)))[0])

    async def test_timeouts(self) -> None:
        """The timeout is that of the option; by default it grows with the workers of the file."""
        asked: list[float] = []
        document: dict[str, object] = {"pid": 47, "old_pid": 42, "moved": 0, "stayed": 0, "seconds": 0.8}

        def answer(url: str, token: str | None, timeout: float) -> dict[str, object]:
            asked.append(timeout)
            return document

        self.patch(upgrade, "upgrade", answer)
        path = Path(self.mktemp())
        path.write_text(f'workers = 3\n{FILE.replace("tcp:0", "tcp:4443")}[admin]\nendpoint = "unix:/run/a.sock"\n')
        for words in (["--config", str(path)], ["--admin", "unix:/a"], ["--admin", "unix:/a", "--timeout", "100"]):
            self.assertEqual((0, ""), (await self.ctl(*words))[::2])
        self.assertEqual([360.0, 120.0, 100.0], asked)

    async def test_no_endpoint(self) -> None:
        """A file without an endpoint, or an invalid one."""
        path = Path(self.mktemp())
        path.write_text(FILE)
        self.assertIn("name the endpoint with --admin", (await self.ctl("--config", str(path)))[2])
        path.write_text(f"{FILE}[[route]]\n")
        self.assertIn("server_name: missing", (await self.ctl("--config", str(path)))[2])

    async def test_other_answer(self) -> None:
        """An answer of another form is an error in one line."""
        self.patch(upgrade, "upgrade", lambda url, token, timeout: {"pid": None, "moved": 1})
        status, _, error = await self.ctl("--admin", "unix:/nowhere")
        self.assertEqual((1, 1), (status, error.count("\n")))
        self.assertIn("perhaps from another release", error)
