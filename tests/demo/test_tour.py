"""Tests for sniproxy.demo.tour: `make run` in its own process, and its parts."""

import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.demo import tour as module
from sniproxy.demo.client import DemoClient
from sniproxy.demo.printer import TourPrinter
from sniproxy.demo.tour import MESSAGE, TIMEOUT_S, TOPIC, Tour, run
from sniproxy.inspector.entries import LedgerSnapshot, TopicEntry
from sniproxy.testing.pulsar.cluster import TLS_PORT
from tests.admin.sample import connection
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import SocketTestCase


class Demo(ProcessProtocol):
    """A running demo. ``said``: fires once its output has a text in it; ``over``: fires with its exit status."""

    def __init__(self, arguments: Sequence[str], awaited: str = "") -> None:
        self.said: Deferred[None] = Deferred()
        self.over: Deferred[int] = Deferred()
        self.out = self.err = ""
        self._awaited = awaited
        command = [sys.executable, "-m", "sniproxy.demo", *arguments]
        # PYTHONUNBUFFERED would hide that the demo does not flush.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
        self.process = reactor.spawnProcess(self, sys.executable, command, env=environment)

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode()
        if self._awaited and self._awaited in self.out and not self.said.called:
            self.said.callback(None)

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode()

    def processEnded(self, reason: Failure) -> None:
        if self._awaited and not self.said.called:
            self.said.errback(AssertionError(f"it ended, having said {self.out!r} and {self.err!r}"))
        self.over.callback(reason.value.exitCode)  # type: ignore[union-attr]

    def kill(self) -> Deferred[int]:
        """Kill the process, unless it has ended."""
        try:
            self.process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        return self.over


def unwrapped(text: str) -> list[str]:
    """The lines of the tour; those that continue an actor's line are joined to it."""
    return re.sub(r"\n {14}(?=\S)", " ", text).splitlines()


class WholeTests(TestCase):
    """python -m sniproxy.demo."""

    timeout = 120

    def demo(self, *arguments: str, awaited: str = "") -> Demo:
        demo = Demo(arguments, awaited)
        self.addCleanup(demo.kill)
        return demo

    def inOrder(self, text: str, *parts: str) -> None:
        at = 0
        for part in parts:
            self.assertIn(part, text[at:])
            at = text.index(part, at) + len(part)

    async def test_once(self) -> None:
        """With --once it shows both phases in order, with lines of the access log, and exits with status 0."""
        demo = self.demo("--once", "--port", "0")
        status = await demo.over
        self.assertEqual((status, demo.err), (0, ""))
        self.assertTrue(demo.out.isascii())
        self.inOrder(
            demo.out,
            f"1. Lookup phase: who owns {TOPIC}?",
            "SNI = pulsar-vip.test",
            "broker-1    accepts the connection",
            "broker-1    answers a lookup",
            "pulsar+ssl://broker-2.pulsar.test:6651",
            '"server_name": "pulsar-vip.test"',
            "2. Connect phase",
            "SNI = broker-2.pulsar.test",
            "broker-2    accepts the connection",
            "stores a message",
            f'reads it back: "{MESSAGE.decode()}"',
            '"server_name": "broker-2.pulsar.test"',
            "3. Where the proxy ends TLS itself",
            "proxy       has read the answer: broker-2 owns the topic",
            '"listener": "inspected"',
            "Done.",
        )
        lines = demo.out.splitlines()
        log = [json.loads(line) for line in lines if line.startswith("{")]
        self.assertEqual([line["result"] for line in log], ["ok", "ok", "ok"])
        self.assertLessEqual(max(len(line) for line in lines if not line.startswith("{")), 80)

    async def test_serves(self) -> None:
        """Without --once it keeps serving and prints what to try; Ctrl-C ends it at once, with status 0."""
        demo = self.demo("--port", "0", awaited=".build()\n")
        await demo.said
        self.assertIn("openssl s_client", demo.out)
        self.assertRegex(demo.out, r"\n  http://127\.0\.0\.1:\d+/\n")
        self.assertRegex(demo.out, r"sniproxyctl top http://127\.0\.0\.1:\d+\n")
        address = demo.out.split("-connect 127.0.0.1:")[1].split()[0]
        file = demo.out.split("-CAfile ")[1].split()[0]
        with open(file) as pem:
            self.assertIn("BEGIN CERTIFICATE", pem.read())
        with socket.create_connection(("127.0.0.1", int(address)), timeout=10):
            demo.process.signalProcess(signal.SIGINT)
            status = await demo.over
        self.assertEqual((status, demo.err), (0, ""))
        self.assertFalse(os.path.exists(file))

    async def test_busy(self) -> None:
        """For a port in use it prints one line with the process and the cure, and exits with status 1."""
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            demo = self.demo("--port", str(port))
            status = await demo.over
        self.assertEqual((status, demo.out), (1, ""))
        [line] = demo.err.splitlines()
        for part in (f"port {port}", f"pid {os.getpid()} (", f"make run PORT={port + 1 if port < 65535 else 4443}"):
            self.assertIn(part, line)


class TourTests(SocketTestCase):
    """Tour, in this process."""

    def tour(self, port: int = 0) -> Tour:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.out = io.StringIO()
        return Tour(reactor, TourPrinter(self.out), folder, port)

    async def test_walk(self) -> None:
        """The tour shows each step of both phases, in order; only its own connections are waited for and shown."""
        tour = self.tour()
        tour.start()
        await tour.walk()
        shown = [" ".join(line.split()) for line in unwrapped(self.out.getvalue()) if line.startswith("  ")]
        host, port = tour.address
        inspected = "{}:{}".format(*tour.inspected)
        delivered = "broker-2 delivers it to the consumer"  # before or after the receipt
        self.assertEqual(
            [
                f"client dials {host}:{port}, SNI = pulsar-vip.test: any broker",
                "broker-1 accepts the connection; TLS ends here",
                "client verifies the certificate: it covers pulsar-vip.test",
                "broker-1 answers a lookup of the topic",
                "client receives the answer: pulsar+ssl://broker-2.pulsar.test:6651",
                "access log:",
                f"client dials {host}:{port} again, SNI = broker-2.pulsar.test: this broker",
                "broker-2 accepts the connection; TLS ends here",
                "client verifies the certificate: it covers broker-2.pulsar.test",
                "broker-2 stores a message",
                "client receives the receipt: message 1:0",
                'client reads it back: "Hello from behind the proxy"',
                "access log:",
                f"client dials {inspected}, SNI = pulsar-vip.test; the proxy has a certificate for it",
                "broker-2 accepts the connection; TLS ends here",
                "client verifies the certificate: it covers pulsar-vip.test",
                "broker-2 answers a lookup of the topic",
                "client receives the answer: pulsar+ssl://broker-2.pulsar.test:6651",
                "proxy has read the answer: broker-2 owns the topic",
                "access log:",
            ],
            [line for line in shown[3:] if line != delivered],
        )
        self.assertIn(delivered, shown)
        logged = [json.loads(line) for line in self.out.getvalue().splitlines() if line.startswith("{")]
        self.assertEqual(
            [("demo", "pulsar-vip.test"), ("demo", "broker-2.pulsar.test"), ("inspected", "pulsar-vip.test")],
            [(line["listener"], line["server_name"]) for line in logged],
        )
        self.out.seek(0)
        self.out.truncate(0)
        client = DemoClient(reactor, tour.address, tour._cluster.authority_pem, lambda step: None)
        await client.look_up(f"pulsar+ssl://pulsar-vip.test:{TLS_PORT}", TOPIC)
        await tour.stop()
        (line,) = self.out.getvalue().splitlines()
        self.assertEqual("pulsar-vip.test", json.loads(line)["server_name"])

    async def test_waits_for_the_inspector(self) -> None:
        """The inspector reads beside the tunnel: the tour asks until it knows the owner of the topic."""
        tour = self.tour()
        other = TopicEntry("persistent://a/b/c")
        unknown, known = TopicEntry(TOPIC), TopicEntry(TOPIC, broker_url_tls="pulsar+ssl://broker-9.test:6651")
        ledgers = [[other], [unknown], [other, known]]
        self.patch(module, "fetch_ledger", lambda url: LedgerSnapshot(ledgers.pop(0), [], []))
        self.assertEqual("pulsar+ssl://broker-9.test:6651", await tour._ledger_entry())
        self.assertEqual([], ledgers)

    async def test_other_clients(self) -> None:
        """During the tour the access log has the lines of other clients, too, in their order."""
        tour = self.tour()
        tour._walking = True
        for name in ("other.test", "mine.test"):
            tour._observe(connection(server_name=name))
        await tour._access_log("mine.test")
        names = [json.loads(line)["server_name"] for line in self.out.getvalue().splitlines()[1:]]
        self.assertEqual(["other.test", "mine.test"], names)

    def test_program(self) -> None:
        """A program beside this Python is named by its path from here, or by its whole path; any other by its name."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "sniproxyctl").touch()
        self.patch(sys, "executable", str(folder / "python"))
        self.assertEqual(os.path.relpath(folder / "sniproxyctl"), module._program("sniproxyctl"))
        self.assertEqual("missing", module._program("missing"))
        self.patch(sys, "executable", "/bin/python")
        self.assertEqual("/bin/sh", module._program("sh"))

    async def test_what_next(self) -> None:
        """The hints have the address of the proxy and the file of the CA certificate, which is there."""
        tour = self.tour()
        tour.start()
        tour.what_next()
        host, port = tour.address
        said = self.out.getvalue().replace(" \\\n     ", "")
        self.assertIn(f"-connect {host}:{port} -servername broker-1.pulsar.test -CAfile ", said)
        self.assertIn(f"top {tour.admin_url}\n", said)
        self.assertIn(f"topics {tour.admin_url}\n", said)
        file = self.out.getvalue().split("-CAfile ")[1].split()[0]
        self.assertEqual(tour._cluster.authority_pem, Path(file).read_bytes())
        await tour.stop()

    async def test_busy(self) -> None:
        """A tour whose port is in use can be stopped."""
        with socket.create_server(("127.0.0.1", 0)) as busy:
            tour = self.tour(busy.getsockname()[1])
            self.assertRaises(CannotListenError, tour.start)
        await tour.stop()


class TakesItsTime:
    """A tour that a test controls."""

    def __init__(self, walk: Callable[[], Deferred[None]]) -> None:
        self._walk = walk
        self.did: list[str] = []

    async def walk(self) -> None:
        await self._walk()

    def what_next(self) -> None:
        self.did.append("what_next")

    async def stop(self) -> None:
        self.did.append("stop")


class Reactor(Clock):
    """A reactor that runs until it is stopped, at most for some seconds, and then ends as on Ctrl-C."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._hooks: list[Callable[[], object]] = []
        self._triggers: list[Callable[[], object]] = []
        self.stopped = False

    def callWhenRunning(self, hook: Callable[[], object]) -> None:
        self._hooks.append(hook)

    def addSystemEventTrigger(self, phase: str, event: str, trigger: Callable[[], object]) -> None:
        self._triggers.append(trigger)

    def run(self) -> None:
        for hook in self._hooks:
            hook()
        if not self.stopped:
            self.advance(self._seconds)
        for trigger in self._triggers:
            trigger()

    def stop(self) -> None:
        self.stopped = True


class RunTests(SynchronousTestCase):
    """run: the end of a tour."""

    def run_tour(
        self, walk: Callable[[], Deferred[None]], once: bool = True, seconds: float = 1
    ) -> tuple[int, list[str], str]:
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        tour: Any = TakesItsTime(walk)
        reactor = Reactor(seconds)
        status = run(as_reactor(reactor), tour, TourPrinter(io.StringIO()), once)
        self.assertEqual(reactor.getDelayedCalls(), [])
        return status, tour.did, err.getvalue()

    def test_worked(self) -> None:
        """A successful tour ends with status 0; without `once`, it prints what to try next."""

        def walk() -> Deferred[None]:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

        self.assertEqual(self.run_tour(walk), (0, ["stop"], ""))
        self.assertEqual(self.run_tour(walk, once=False), (0, ["what_next", "stop"], ""))

    def test_failed(self) -> None:
        """A failed tour ends with status 1 and one line with the reason, for any exception."""

        def fails() -> Deferred[None]:
            raise ClientError(FailureKind.CLOSED, "pulsar-vip.test: the connection ended")

        def bug() -> Deferred[None]:
            raise AttributeError("no such thing")

        for walk, why in ((fails, "pulsar-vip.test: the connection ended"), (bug, "AttributeError: no such thing")):
            for once in (True, False):
                status, did, err = self.run_tour(walk, once)
                self.assertEqual((status, did), (1, ["stop"]))
                self.assertEqual(err, f"sniproxy: the tour failed: {why}\n")

    def test_too_long(self) -> None:
        """A tour that hangs fails after 30 seconds."""
        status, did, err = self.run_tour(Deferred, seconds=TIMEOUT_S)
        self.assertEqual((status, did), (1, ["stop"]))
        self.assertEqual(err, "sniproxy: the tour failed: timed out after 30 s\n")

    def test_interrupted(self) -> None:
        """Ctrl-C during the tour is no failure."""
        self.assertEqual(self.run_tour(Deferred), (0, ["stop"], ""))

    def test_interrupted_before(self) -> None:
        """Ctrl-C before the reactor runs stops what has been started."""
        tour: Any = TakesItsTime(Deferred)
        reactor = Reactor(0)
        self.patch(reactor, "callWhenRunning", lambda hook: None)
        self.assertEqual(0, run(as_reactor(reactor), tour, TourPrinter(io.StringIO()), True))
        self.assertEqual(["stop"], tour.did)
