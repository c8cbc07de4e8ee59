"""The command ``fault`` with a running endpoint."""

from __future__ import annotations

import io
import json
from pathlib import Path

from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.fault import run_fault
from sniproxy.ctl import parse
from tests.admin.sitecase import SiteTestCase
from tests.support.sockets import in_thread


class FaultTests(SiteTestCase):
    """Lists, adds and removes."""

    async def run_command(self, *words: str) -> str:
        """The output of the command."""
        out = io.StringIO()
        options = parse(["fault", *words, "--admin", f"127.0.0.1:{self.number}", "--token-file", self.token])
        self.assertEqual(0, await in_thread(run_fault, options, out))
        return out.getvalue()

    def setUp(self) -> None:  # type: ignore[override]
        """Serve an endpoint with a token."""
        self.token = self.mktemp()
        Path(self.token).write_text("secret\n")
        self.sample = self.serve()
        self.sample.site.token = b"secret"

    async def test_run(self) -> None:
        """Faults are added, listed and removed."""
        self.assertEqual("no faults\n", await self.run_command("list"))
        line = "fault a: drop at PONG from the broker: applied 0 times, 0 matched, added by a command\n"
        words = ("action=drop", "on=PONG", "from=broker", "name=a")
        self.assertEqual(f"added: {line}", await self.run_command("add", *words))
        self.assertEqual(line, await self.run_command("list"))
        self.assertEqual("a", json.loads(await self.run_command("list", "--json"))["faults"][0]["name"])
        self.assertEqual("removed: a\n", await self.run_command("remove", "a"))
        self.assertEqual([], self.sample.proxy.faults.rules)

    async def test_refused(self) -> None:
        """The proxy's reasons are shown."""
        for words, expected in (
            (("remove", "x"), "HTTP 404: no fault has this name"),
            (("add", "action=drop", "on=PUNG"), "HTTP 400: on = 'PUNG': it is no type"),
        ):
            with self.assertRaises(AdminError) as raised:
                await self.run_command(*words)
            self.assertIn(expected, str(raised.exception))
        self.sample.site.token = None
        with self.assertRaises(AdminError) as raised:
            await self.run_command("add", "action=cut")
        self.assertIn("HTTP 403", str(raised.exception))

    async def test_usage(self) -> None:
        """Wrong words are wrong usage."""
        for words in (
            ["list", "a"],
            ["remove"],
            ["add"],
            ["add", "cut"],
            ["add", "action=cut", "action=stop"],
            ["remove", "a\udcff"],
        ):
            with self.assertRaises(SystemExit):
                await self.run_command(*words)

    async def test_unexpected(self) -> None:
        """An answer of another form is an error of the command."""
        self.patch(self.sample.proxy.faults, "document", lambda: [{}])
        with self.assertRaises(AdminError) as raised:
            await self.run_command("list")
        self.assertIn("unexpected answer", str(raised.exception))
