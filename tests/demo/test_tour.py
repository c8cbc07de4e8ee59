"""Tests for sniproxy.demo.tour: `make run` in its own process, and its parts."""

import errno
import io
import json
import os
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
from sniproxy.demo.cluster import TLS_PORT, DemoCluster
from sniproxy.demo.tour import MESSAGE, TIMEOUT_S, TOPIC, Tour, TourPrinter, configuration, main, run
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


class WholeTests(TestCase):
    """python -m sniproxy.demo."""

    timeout = 60

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
            "Done.",
        )
        log = [json.loads(line) for line in demo.out.splitlines() if line.startswith("{")]
        self.assertEqual([line["result"] for line in log], ["ok", "ok"])

    async def test_serves(self) -> None:
        """Without --once it keeps serving and prints what to try; Ctrl-C ends it at once, with status 0."""
        demo = self.demo("--port", "0", awaited=".build()\n")
        await demo.said
        self.assertIn("openssl s_client", demo.out)
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
        self.log, self.out = folder / "access.jsonl", io.StringIO()

        def to_file(cluster: DemoCluster, port: int) -> str:
            return configuration(cluster, port).replace('path = "-"', f'path = "{self.log}"')

        self.patch(module, "configuration", to_file)
        return Tour(reactor, TourPrinter(self.out), folder, port)

    async def test_walk(self) -> None:
        """The tour shows each step of both phases, in order; only its own connections are waited for and shown."""
        tour = self.tour()
        tour.start()
        await tour.walk()
        shown = [line.strip() for line in self.out.getvalue().splitlines() if line.startswith("  ")]
        host, port = tour.address
        delivered = "broker-2    delivers it to the consumer"  # before or after the receipt
        self.assertEqual(
            [
                f"client      dials {host}:{port}, SNI = pulsar-vip.test: any broker",
                "broker-1    accepts the connection; TLS ends here",
                "client      verifies the certificate: it covers pulsar-vip.test",
                "broker-1    answers a lookup of the topic",
                "client      receives the answer: pulsar+ssl://broker-2.pulsar.test:6651",
                "access log:",
                f"client      dials {host}:{port} again, SNI = broker-2.pulsar.test: this broker",
                "broker-2    accepts the connection; TLS ends here",
                "client      verifies the certificate: it covers broker-2.pulsar.test",
                "broker-2    stores a message",
                "client      receives the receipt: message 1:0",
                'client      reads it back: "Hello from behind the proxy"',
                "access log:",
            ],
            [line for line in shown[3:] if line != delivered],
        )
        self.assertIn(delivered, shown)
        logged = [json.loads(line)["server_name"] for line in self.log.read_text().splitlines()]
        self.assertEqual(["pulsar-vip.test", "broker-2.pulsar.test"], logged)
        self.out.truncate(0)
        client = DemoClient(reactor, tour.address, tour._cluster.authority_pem, lambda step: None)
        await client.look_up(f"pulsar+ssl://pulsar-vip.test:{TLS_PORT}", TOPIC)
        self.assertEqual("", self.out.getvalue())
        await tour.stop()

    async def test_what_next(self) -> None:
        """The hints have the address of the proxy and the file of the CA certificate, which is there."""
        tour = self.tour()
        tour.start()
        tour.what_next()
        host, port = tour.address
        self.assertIn(f"-connect {host}:{port} -servername broker-1.pulsar.test -CAfile ", self.out.getvalue())
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class PrinterTests(SynchronousTestCase):
    """Page: text and colours."""

    def written(self, out: io.StringIO) -> str:
        page = TourPrinter(out)
        page.heading("Heading")
        page.line("actor", "acts")
        return out.getvalue()

    def test_plain(self) -> None:
        """Output to a file has no colours."""
        self.assertEqual(self.written(io.StringIO()), "\nHeading\n  actor       acts\n")

    def test_colour(self) -> None:
        """Output to a terminal has colours, unless NO_COLOR is set."""
        self.patch(os, "environ", {})
        self.assertIn("\x1b[1mHeading\x1b[0m\n", self.written(Terminal()))
        self.patch(os, "environ", {"NO_COLOR": "1"})
        self.assertNotIn("\x1b", self.written(Terminal()))


class OptionTests(SynchronousTestCase):
    """main: the command line."""

    def test_runs(self) -> None:
        """The tour runs with the port and in a folder that is removed; its status is the program's."""
        found: list[Any] = []

        def run(reactor: object, tour: Tour, printer: object, once: bool) -> int:
            found.extend((tour.address, once, tour._ca_file.parent.is_dir(), tour._ca_file))
            return 7

        self.patch(module, "run", run)
        self.patch(Tour, "start", lambda tour: None)
        self.assertEqual(7, main(["--port", "65535", "--once"], io.StringIO()))
        address, once, there, file = found
        self.assertEqual((("127.0.0.1", 65535), True, True), (address, once, there))
        self.assertFalse(file.parent.exists())

    def test_busy(self) -> None:
        """A port in use is one line with another port to choose, and status 1; nothing runs."""

        def start(tour: Tour) -> None:
            raise CannotListenError("127.0.0.1", tour.address[1], OSError(errno.EADDRINUSE, "in use"))

        self.patch(Tour, "start", start)
        self.patch(module, "run", self.fail)
        for port, other in ((4443, 4444), (65535, 4443)):
            err = io.StringIO()
            self.patch(sys, "stderr", err)
            self.assertEqual(1, main(["--port", str(port)], io.StringIO()))
            (line,) = err.getvalue().splitlines()
            self.assertTrue(line.startswith("sniproxy: "), line)
            self.assertIn(f"choose another: make run PORT={other} ", line)

    def test_bad_port(self) -> None:
        """An invalid port is refused with status 2 before anything starts."""
        for text in ("x", "-1", "65536", ""):
            err = io.StringIO()
            self.patch(sys, "stderr", err)
            with self.assertRaises(SystemExit) as caught:
                main(["--port", text])
            self.assertEqual(caught.exception.code, 2)
            self.assertIn("--port", err.getvalue())
