"""Tests for sniproxy.cli.explain.command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from sniproxy.cli.explain.command import explain
from sniproxy.cli.explain.options import add_explain
from sniproxy.config.schema import ConfigError
from sniproxy.util.names import BadName
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase
from tests.tls.material import CA

TEXT = (
    '[[listener]]\nname = "one"\nendpoint = "tcp:5"\n[[listener]]\nname = "two"\nendpoint = "tcp:6"\n'
    '[[route]]\nserver_name = "a.test"\ntarget = "127.0.0.1:1"\nlistener = "one"\n'
)


class CommandTests(SocketTestCase):
    """Output and exit status."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.file = Path(self.mktemp())
        self.file.write_text(TEXT)

    async def run_it(self, *arguments: str) -> tuple[int, str]:
        top = argparse.ArgumentParser()
        add_explain(top.add_subparsers())
        out = StringIO()
        options = top.parse_args(["explain", "--config", str(self.file), *arguments])
        return await explain(options, reactor, out), out.getvalue()

    async def test_name(self) -> None:
        """A name on each listener: status 0 if one routes it, 1 if none does or there is a problem."""
        status, out = await self.run_it("A.test.")
        self.assertEqual(0, status)
        self.assertIn("a.test on listener one", out)
        self.assertIn("a.test on listener two", out)
        self.assertIn("only for listener one", out)
        for arguments in (("a.test", "--listener", "two"), ("b.test",), ("",), ("a.test", "--connect")):
            status, out = await self.run_it(*arguments)
            self.assertEqual(1, status, out)

    async def test_all(self) -> None:
        """All routes, one line each, and the number with problems."""
        self.assertEqual(
            (0, "ok          a.test (on one) on one -> 127.0.0.1:1\n1 route, 0 with problems\n"),
            await self.run_it("--all"),
        )
        status, out = await self.run_it("--all", "--connect")
        self.assertEqual(1, status)
        self.assertIn("127.0.0.1:1: Connection refused", out)

    async def test_all_unchecked(self) -> None:
        """Routes that need a name are counted as not checked; the state of each resolver is printed once."""
        names = Path(self.mktemp())
        names.write_text("a.test 127.0.0.1:1\n")
        self.file.write_text(
            '[[listener]]\nname = "one"\nendpoint = "tcp:5"\n'
            '[[route]]\nserver_name = "*.test"\nresolver = "f"\n[[route]]\nserver_name = "a.test"\nresolver = "f"\n'
            f'[resolver.f]\ntype = "file"\npath = "{names.absolute()}"\n'
        )
        self.assertEqual(
            (
                0,
                "not checked *.test on one -> depends on the name\n"
                "ok          a.test on one -> 127.0.0.1:1\n"
                "state       resolver.f (type file): 1 name\n"
                "2 routes, 0 with problems, 1 not checked\n",
            ),
            await self.run_it("--all"),
        )

    async def test_several(self) -> None:
        """Each host of a URL is explained; the status is 0 if all would be routed."""
        self.assertEqual(0, (await self.run_it("pulsar+ssl://a.test:6651,A.test.:6652/"))[0])
        status, out = await self.run_it("pulsar+ssl://a.test:6651,b.test:6651", "--json")
        self.assertEqual(1, status)
        self.assertEqual(["a.test", "b.test"] * 2, [one["name"] for one in json.loads(out)])

    async def test_plain_url(self) -> None:
        """A URL without TLS has a note with the listeners for its clients, or the cure."""
        status, out = await self.run_it("pulsar://a.test:6650", "--listener", "one")
        self.assertEqual(0, status)
        self.assertIn("pulsar:// clients do not use TLS and send no server name, so a TLS listener refuses them; ", out)
        self.assertIn("add a plaintext listener or a [[bridge]]", out)
        self.assertIn("Java clients of Pulsar 5 that came by TLS dial it by TLS", out)
        self.assertEqual(2, (await self.run_it("pulsar://a.test:6650"))[1].count("Java clients of Pulsar 5"))
        authority = Path(self.mktemp())
        authority.write_bytes(CA.cert_pem.bytes())
        self.file.write_text(
            f'{TEXT}[[bridge]]\nname = "b"\nendpoint = "tcp:8"\nservice_url = "pulsar+ssl://v.test"\n'
            f'trust = "{authority.absolute()}"\n[[listener]]\nname = "plain"\n'
            'endpoint = "tcp:7"\nplaintext = true\ntarget = "127.0.0.1:1"\n'
        )
        _, out = await self.run_it("pulsar://a.test:6650", "--listener", "one")
        self.assertIn("use plaintext listener plain or bridge b, which has one destination for all clients", out)
        self.assertNotIn("note", (await self.run_it("pulsar+ssl://a.test", "--listener", "one"))[1])

    async def test_address(self) -> None:
        """An IP address, also in a URL, has a note that clients send no server name for it."""
        for text in ("2001:db8::7", "[2001:db8::7]:6651", "pulsar+ssl://[2001:DB8::7]:6651", "192.0.2.7:6651"):
            _, out = await self.run_it(text, "--listener", "one")
            self.assertIn("send no server name for an IP address", out)

    async def test_json(self) -> None:
        """JSON has an object for each listener."""
        _, out = await self.run_it("a.test", "--json")
        self.assertEqual([("one", True), ("two", False)], [(one["listener"], one["routed"]) for one in json.loads(out)])

    async def test_bridges(self) -> None:
        """With --all, a bridge is shown with its destination, not checked; NAME with a bridge is an error."""
        both = Path(self.mktemp())
        ca = Path(self.mktemp())
        ca.write_bytes(CA.cert_pem.bytes())
        text = (
            '[[bridge]]\nendpoint = "tcp:6650:interface=127.0.0.1"\nname = "side"\n'
            f'service_url = "pulsar+ssl://vip.test"\ntrust = "{ca.absolute()}"\n'
            'proxy_service_url = "pulsar+ssl://proxy.test:4443"\nproxy_protocol = "SNI"\n'
        )
        way = "pulsar+ssl://vip.test:6651 via proxy proxy.test:4443"
        line = f"not checked bridge on side -> {way}; test it with sniproxyctl lookup\n"
        self.file.write_text(text)
        self.assertEqual((0, f"{line}1 bridge, 0 with problems, 1 not checked\n"), await self.run_it("--all"))
        for arguments in (("a.test",), ("", "--listener", "side")):
            asked: Deferred[Any] = Deferred.fromCoroutine(self.run_it(*arguments))
            error = await self.assertFailure(asked, ConfigError)
            self.assertIn(f"a bridge has one destination and does not route by server name: side -> {way}", str(error))
        both.write_text(TEXT + text)
        self.file = both
        status, out = await self.run_it("--all")
        self.assertEqual(0, status)
        self.assertIn("ok          a.test (on one) on one -> 127.0.0.1:1\n" + line, out)
        self.assertIn("1 route, 1 bridge, 0 with problems, 1 not checked", out)
        status, out = await self.run_it("a.test")
        self.assertNotIn("side", out)

    async def test_usage(self) -> None:
        """Wrong usage and an invalid configuration differ from a refusal."""
        for arguments, error, said in (
            ((), ConfigError, "give NAME or --all"),
            (("a.test", "--all"), ConfigError, "give NAME or --all"),
            (("a b",), ConfigError, "is not allowed in a server name"),
            (("a.test", "--also", "a b"), BadName, "is not allowed in a server name"),
            (("a.test", "--listener", "x"), ConfigError, "unknown listener; known: one, two"),
            (("a.test", "--config", "/nonexistent"), ConfigError, "/nonexistent: cannot be read: No such file"),
        ):
            told: Any = None
            try:
                await self.run_it(*arguments)
            except error as problem:
                told = problem
            self.assertIn(said, str(told))

    async def test_program(self) -> None:
        """The program itself: its statuses, and no traceback."""
        program = Path(sys.executable).with_name("sniproxyctl")
        bad = Path(self.mktemp())
        bad.write_text("colour = 1")
        for arguments, status, said in (
            (("a.test", "--config", str(self.file)), 0, "would be routed"),
            (("b.test", "--config", str(self.file)), 1, "REFUSED"),
            (("a.test", "--config", str(bad)), 2, "colour = 1: unknown key"),
            (("a.test",), 2, "--config"),
        ):
            out, error, code = await getProcessOutputAndValue(str(program), ["explain", *arguments], env=os.environ)
            self.assertEqual(status, code, error.decode())
            self.assertIn(said, (out + error).decode())
            self.assertNotIn(b"Traceback", error)
