"""Tests for sniproxy.cli.admincommands, against a running proxy."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet.threads import blockingCallFromThread

from sniproxy import ctl
from sniproxy.cli.adminclient import AdminError, drain
from sniproxy.cli.admincommands import add_drain, run_drain, text_of
from sniproxy.cli.exitstatus import INTERRUPTED
from tests.admin.token import TOKEN, admin_with_token, token_file
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread, read_exactly


class CommandCase(SocketTestCase):
    """A proxy with a tunnel, and the commands."""

    token: Path

    @property
    def secret(self) -> str:
        """The options of the command that cancels a drain."""
        return f"--token-file {self.token}"

    async def tunnel(self) -> None:
        self.backend = Backend(self)
        self.token = token_file(self)
        self.proxy = Proxy(self, route(self.backend.address) + admin_with_token(self.token))
        client = self.proxy.connect()
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME))
        upstream = await in_thread(self.backend.accept)
        self.addCleanup(upstream.close)
        await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        address = self.proxy.service.admin_address
        assert address is not None
        self.url = "http://{}:{}".format(*address)

    async def ctl(self, *arguments: str) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        status = await in_thread(ctl.main, list(arguments), ctl.Streams(io.BytesIO(), out, error))
        return status, out.getvalue(), error.getvalue()


class StatusTests(CommandCase):
    """sniproxyctl status."""

    async def test_status(self) -> None:
        """The state, the configuration, tunnels by target, drains and warnings."""
        await self.tunnel()
        self.proxy.service.view.drain(NAME, 0.01)
        self.proxy.service.reload(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        self.flushLoggedErrors(ZeroDivisionError)
        status, out, _ = await self.ctl("status", self.url)
        self.assertEqual(0, status)
        for said in (
            "ready, started",
            "configuration test.toml, loaded ",
            "reloads: 0 succeeded, 1 failed",
            "listener public: 127.0.0.1:",
            f"\nroute {NAME}: {self.backend.address}\n",
            "\ntimeouts: hello 10.0, connect 10.0, idle 300.0, half_closed 60.0, drain 30.0, upgrade_drain 14400.0\n",
            "1 open connection; since start: 0 ended, 0 refused",
            f"draining route {NAME} at 0.01/s: 0 closed, 1 left",
            "warning: reload failed, keeping the current configuration: ",
        ):
            self.assertIn(said, out)
        self.assertRegex(out, rf"\n{self.backend.address} +draining +\d+s +1 +1 ")
        status, out, _ = await self.ctl("status", self.url, "--json")
        document = json.loads(out)
        self.assertEqual(1, document["live"])
        document["warning_count"] += 5
        self.assertEqual("5 more warnings in the log of the proxy", text_of({self.url: document})[-1])

    async def test_bare_address(self) -> None:
        """A host and port without http:// are the same endpoint."""
        await self.tunnel()
        address = self.url.removeprefix("http://")
        status, out, _ = await self.ctl("status", address, self.url)
        self.assertEqual((0, 1), (status, out.count(", loaded ")))
        _, _, error = await self.ctl("drain", NAME, "--undo", "--admin", address, "--token-file", str(self.token))
        self.assertIn("HTTP 404", error)

    async def test_nobody(self) -> None:
        """Without an answer, the error is one line, and the status is 1."""
        status, out, error = await self.ctl("status", "http://127.0.0.1:1")
        self.assertEqual((1, ""), (status, out))
        self.assertIn("check that this is the [admin] endpoint", error)


class SeveralTests(CommandCase):
    """Several instances."""

    async def two(self) -> tuple[str, str]:
        """The admin endpoints of two proxies, the first of which has a tunnel."""
        await self.tunnel()
        address = Proxy(self, route(self.backend.address) + admin_with_token(self.token)).service.admin_address
        assert address is not None
        return self.url, "http://{}:{}".format(*address)

    async def test_status(self) -> None:
        """All instances are listed, and their counts are added up; with --json they are an array."""
        urls = await self.two()
        status, out, error = await self.ctl("status", *urls)
        self.assertEqual((0, ""), (status, error))
        for url in urls:
            self.assertIn(f"{url}: sniproxy ", out)
        self.assertEqual(1, out.count("1 open connection"))
        self.assertRegex(out, rf"\n{self.backend.address} +unchecked +- +1 +1 ")
        status, out, _ = await self.ctl("status", "--json", *urls)
        self.assertEqual([1, 0], [one["live"] for one in json.loads(out)])

    async def test_one_is_silent(self) -> None:
        """Instances that answer are shown; the error names the others, and the status is 1."""
        await self.tunnel()
        status, out, error = await self.ctl("status", "http://127.0.0.1:1", self.url)
        self.assertEqual(1, status)
        self.assertIn("1 open connection", out)
        self.assertIn("sniproxyctl: http://127.0.0.1:1: ", error)
        status, _, error = await self.ctl("topics", self.url, "http://127.0.0.1:1")
        self.assertEqual(1, status)
        self.assertIn(f"{self.url}: this proxy does not inspect Pulsar", error)

    async def test_drain(self) -> None:
        """A target is drained in all instances, each with its share of the rate, and the drain is cancelled in all."""
        first, second = await self.two()
        both = ("--admin", first, "--admin", second, "--token-file", str(self.token))

        def ended(seconds: float) -> None:
            blockingCallFromThread(reactor, lambda: self.proxy.ended())  # type: ignore[arg-type]

        out = io.StringIO()
        top = argparse.ArgumentParser()
        add_drain(top.add_subparsers())
        options = top.parse_args(["drain", self.backend.address, "--rate", "2000/s", *both])
        self.assertEqual(0, await in_thread(run_drain, options, out, ended))
        goal = f"target {self.backend.address}"
        self.assertIn(f"{goal}: 1 closed, 0 refused, 0 left", out.getvalue())
        _, said, _ = await self.ctl("status", first, second)
        self.assertIn(f"draining {goal} at 2000/s", said)
        status, said, _ = await self.ctl("drain", self.backend.address, "--undo", *both)
        self.assertEqual((0, f"{goal}: drain cancelled, new connections allowed; 1 closed\n"), (status, said))


class DrainTests(CommandCase):
    """sniproxyctl drain."""

    def options(self, *arguments: str) -> argparse.Namespace:
        top = argparse.ArgumentParser()
        add_drain(top.add_subparsers())
        return top.parse_args(["drain", *arguments])

    async def drained(self, wait: Callable[[float], object], *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        options = self.options(*arguments, "--admin", self.url, "--token-file", str(self.token))
        return await in_thread(run_drain, options, out, wait), out.getvalue()

    async def test_drain(self) -> None:
        """The remaining clients are shown until none is left; --undo shows the number of closed tunnels."""
        await self.tunnel()

        def wait(seconds: float) -> None:
            blockingCallFromThread(reactor, lambda: self.proxy.ended())  # type: ignore[arg-type]

        status, out = await self.drained(wait, self.backend.address, "--rate", "1000/s")
        goal = f"target {self.backend.address}"
        first, second, last = out.splitlines()
        self.assertEqual(0, status)
        self.assertTrue(first.startswith(f"{goal}: 0 closed, 0 refused, 1 left: 127.0.0.1:"), first)
        self.assertEqual(f"{goal}: 1 closed, 0 refused, 0 left", second)
        undo = f"until you run: sniproxyctl drain {self.backend.address} --admin {self.url} {self.secret} --undo"
        self.assertEqual(f"routes with no other target refuse clients {undo}", last)
        status, out = await self.drained(wait, self.backend.address, "--undo")
        self.assertEqual((0, f"{goal}: drain cancelled, new connections allowed; 1 closed\n"), (status, out))

    async def test_route(self) -> None:
        """A drained route keeps refusing clients; the printed command is quoted for a shell."""
        self.backend, self.token = Backend(self), token_file(self)
        self.proxy = Proxy(self, route(self.backend.address, "*.pulsar.test") + admin_with_token(self.token))
        self.url = "http://{}:{}".format(*(self.proxy.service.admin_address or ()))
        status, out = await self.drained(lambda seconds: self.fail("nobody is there"), "*.pulsar.test")
        said = f"this route refuses clients until you run: sniproxyctl drain '*.pulsar.test' --admin {self.url} "
        self.assertEqual((0, f"{said}{self.secret} --undo"), (status, out.splitlines()[1]))

    async def test_watching_ends(self) -> None:
        """Ctrl-C ends only the display, and prints how to undo the drain; a cancelled drain ends it, too."""
        await self.tunnel()

        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        status, out = await self.drained(interrupted, NAME, "--rate", "1/m")
        self.assertEqual(INTERRUPTED, status)
        self.assertIn(f"to cancel it, run: sniproxyctl drain {NAME} --admin {self.url} {self.secret} --undo", out)
        self.assertEqual(1, len(self.proxy.service.view.status().drains))

        def undone(seconds: float) -> None:
            blockingCallFromThread(reactor, self.proxy.service.view.undrain, NAME)

        status, out = await self.drained(undone, NAME, "--rate", "0.01")
        self.assertEqual(1, status)
        self.assertTrue(out.endswith("drain cancelled by another command\n"))

    async def test_refused(self) -> None:
        """An unknown target, and one that is not drained, give one line."""
        await self.tunnel()
        status, _, error = await self.ctl("drain", "nobody.test", "--admin", self.url, "--token-file", str(self.token))
        self.assertEqual(1, status)
        self.assertIn(
            f"HTTP 404: nobody.test: no such route or target; route {NAME}",
            error,
        )
        status, _, error = await self.ctl("drain", NAME, "--admin", self.url, "--undo", "--token-file", str(self.token))
        self.assertIn(f"HTTP 404: {NAME} is not being drained; being drained: nothing", error)
        await self.assertFailure(in_thread(drain, self.url, NAME, 1e9, TOKEN), AdminError)

    async def test_without_token(self) -> None:
        """Over TCP a drain needs the token; an invalid file or token gives one line."""
        await self.tunnel()
        status, _, error = await self.ctl("drain", NAME, "--admin", self.url)
        self.assertEqual(1, status)
        self.assertIn("HTTP 403: missing or wrong token", error)
        for text, said in (("another-token-that-is-long\n", "HTTP 403"), ("", "must contain one line")):
            path = str(token_file(self, text))
            status, _, error = await self.ctl("drain", NAME, "--admin", self.url, "--token-file", path)
            self.assertEqual((1, 1), (status, error.count("\n")))
            self.assertIn(said, error)
        status, _, error = await self.ctl("drain", NAME, "--admin", self.url, "--token-file", "/nonexistent")
        self.assertIn("--token-file /nonexistent: No such file", error)
        self.assertEqual([], self.proxy.service.view.status().drains)

    async def test_unix(self) -> None:
        """Through a Unix socket a drain needs no token; status accepts its path, too."""
        backend, path = Backend(self), Path(self.mktemp()).absolute()
        proxy = Proxy(self, f'{route(backend.address)}[admin]\nendpoint = "unix:{path}"\n')
        status, out, error = await self.ctl("drain", NAME, "--admin", f"unix:{path}")
        self.assertEqual((0, ""), (status, error))
        self.assertEqual([NAME], [one.name for one in proxy.service.view.status().drains])
        status, out, _ = await self.ctl("status", f"unix:{path}")
        self.assertIn(f"draining route {NAME}", out)

    def test_rate(self) -> None:
        """A rate is a number per second or per minute."""
        for text, rate in (("10/s", 10.0), ("30/m", 0.5), ("2.5", 2.5)):
            self.assertEqual(rate, self.options("x", "--admin", "u", "--rate", text).rate)
        self.patch(sys, "stderr", io.StringIO())
        for text in ("0", "x", "10/h", "-1", "1e9", "99999"):
            self.assertRaises(SystemExit, self.options, "x", "--admin", "u", "--rate", text)
