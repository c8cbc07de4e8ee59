"""The program `python -m sniproxy.demo`: runs a cluster, the proxy and a client in one process, and shows each step."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

import sniproxy
from sniproxy.client.failures import ClientError
from sniproxy.config.parser import parse
from sniproxy.demo.broker import BrokerEvent
from sniproxy.demo.client import Connected, DemoClient, Located, Published, ReadBack, Step
from sniproxy.demo.cluster import TLS_PORT, DemoCluster
from sniproxy.events import Connection
from sniproxy.logs.writer import WRITE_DELAY_S
from sniproxy.server.listeners import why_not_listening
from sniproxy.service import ProxyService
from sniproxy.util.reactor import IReactor, global_reactor

#: The broker that the first lookup reaches does not own this topic, so that the answer names another broker.
TOPIC = "persistent://public/default/my-topic"
MESSAGE = b"Hello from behind the proxy"
TIMEOUT_S = 30

_ACTOR = 12


class TourPrinter:
    """Prints the tour; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")

    def text(self, text: str = "") -> None:
        """Print a line."""
        print(text, file=self._out, flush=True)

    def heading(self, text: str) -> None:
        """Print an empty line and a heading."""
        self.text()
        self.text(self._in("1", text))

    def line(self, actor: str, text: str) -> None:
        """Print an actor and what it does."""
        self.text(f"  {self._in('36', actor.ljust(_ACTOR))}{text}")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def configuration(cluster: DemoCluster, port: int) -> str:
    """The configuration of the proxy for a cluster, without a drain time on Ctrl-C."""
    names = "".join(
        f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{broker_port}"\n\n'
        for name, (host, broker_port) in cluster.addresses.items()
    )
    all_targets = ", ".join(f'"{host}:{broker_port}"' for host, broker_port in cluster.addresses.values())
    return (
        f'[[listener]]\nname = "demo"\nendpoint = "tcp:{port}:interface=127.0.0.1"\n\n'
        f'[[route]]\nserver_name = "{cluster.service_name}"\ntarget = [{all_targets}]\n\n'
        f'{names}[timeouts]\ndrain = 0\n\n[access_log]\npath = "-"\n'
    )


class Tour:
    """A cluster behind a proxy, and a client that runs both phases of PIP-60.

    ``folder``: gets the CA certificate, ``ca.pem``. ``port``: the port of the proxy, 0 for any.
    ``address``: the address of the proxy, after the start.
    """

    def __init__(self, reactor: IReactor, printer: TourPrinter, folder: Path, port: int) -> None:
        self._reactor = reactor
        self._printer = printer
        self._port = port
        self._ca_file = folder / "ca.pem"
        self._ended: DeferredQueue[Connection] = DeferredQueue()
        self._walking = False
        self._cluster = DemoCluster(reactor, on_event=self._on_event)
        self._proxy: ProxyService | None = None
        self.address = ("127.0.0.1", port)

    def start(self) -> None:
        """Start the cluster and the proxy. @raise CannotListenError: the port of the proxy is in use."""
        self._cluster.start()
        self._ca_file.write_bytes(self._cluster.authority_pem)
        text = configuration(self._cluster, self._port)
        proxy = ProxyService(parse(text, "the demo configuration"), self._reactor, observer=self._observe)
        proxy.startService()
        self._proxy = proxy
        self.address = proxy.addresses["demo"]

    async def stop(self) -> None:
        """Stop the proxy, then the cluster."""
        if self._proxy is not None:
            await self._proxy.stopService()
        await self._cluster.stop()

    async def walk(self) -> None:
        """Run both phases, and print each step."""
        self._walking = True
        printer, cluster = self._printer, self._cluster
        host, port = self.address
        client = DemoClient(self._reactor, self.address, cluster.authority_pem, self._step)
        printer.heading(f"sniproxy {sniproxy.__version__}: both phases of Pulsar's PIP-60, in one process")
        for name, (broker_host, broker_port) in cluster.addresses.items():
            printer.line(_short(name), f"{name}, on {broker_host}:{broker_port}; the name is not in DNS")
        printer.line("proxy", f"on {host}:{port}; reads the TLS server name (SNI), decrypts nothing")

        printer.heading(f"1. Lookup phase: who owns {TOPIC}?")
        printer.line("client", f"dials {host}:{port}, SNI = {cluster.service_name}: any broker")
        url = await client.look_up(f"pulsar+ssl://{cluster.service_name}:{TLS_PORT}", TOPIC)
        await self._access_log(cluster.service_name)

        printer.heading("2. Connect phase: to the owner, through the same proxy")
        owner = url.removeprefix("pulsar+ssl://").removesuffix(f":{TLS_PORT}")
        printer.line("client", f"dials {host}:{port} again, SNI = {owner}: this broker")
        await client.round_trip(url, TOPIC, MESSAGE)
        await self._access_log(owner)
        self._walking = False

    def what_next(self) -> None:
        """Print what to try while the proxy runs."""
        printer, (host, port) = self._printer, self.address
        printer.heading(f"Done. The proxy listens on {host}:{port} until Ctrl-C, and prints its access log here. Try:")
        first = next(iter(self._cluster.addresses))
        s_client = f"openssl s_client -brief -connect {host}:{port} -servername"
        printer.text(f"  {s_client} {first} -CAfile {self._ca_file} </dev/null")
        printer.text(f"  {s_client} nobody.test </dev/null    # refused: unrecognized_name")
        printer.text("or a real client, such as Java (for others, see the README):")
        printer.text(f'  PulsarClient.builder().serviceUrl("pulsar+ssl://{self._cluster.service_name}:{TLS_PORT}")')
        printer.text(f'      .proxyServiceUrl("pulsar+ssl://{host}:{port}", ProxyProtocol.SNI)')
        printer.text(f'      .tlsTrustCertsFilePath("{self._ca_file}").enableTlsHostnameVerification(true).build()')
        printer.text()

    async def _access_log(self, server_name: str) -> None:
        """Wait until the proxy has written the access log line of the connection that has just ended."""
        self._printer.text("  access log:")
        while (await self._ended.get()).server_name != server_name:
            pass
        # The proxy writes the line within this delay. Without the wait, the lines would be out of order.
        await deferLater(self._reactor, WRITE_DELAY_S, lambda: None)

    def _observe(self, connection: Connection) -> None:
        if self._walking:
            self._ended.put(connection)

    def _on_event(self, event: BrokerEvent) -> None:
        texts = {
            "CONNECT": "accepts the connection; TLS ends here",
            "LOOKUP": "answers a lookup of the topic",
            "SEND": "stores a message",
            "MESSAGE": "delivers it to the consumer",
        }
        if self._walking and event.command in texts:
            self._printer.line(_short(event.broker), texts[event.command])

    def _step(self, step: Step) -> None:
        match step:
            case Connected(server_name=name):
                self._printer.line("client", f"verifies the certificate: it covers {name}")
            case Located(url=url):
                self._printer.line("client", f"receives the answer: {url}")
            case Published(ledger=ledger, entry=entry):
                self._printer.line("client", f"receives the receipt: message {ledger}:{entry}")
            case ReadBack(payload=payload):
                self._printer.line("client", f'reads it back: "{payload.decode()}"')


def _short(name: str) -> str:
    return name.partition(".")[0]


def run(reactor: IReactor, tour: Tour, printer: TourPrinter, once: bool) -> int:
    """Run the reactor until the tour ends (`once`) or Ctrl-C. @return: the exit status."""
    status = 0
    walk: Deferred[None] | None = None

    def failed(failure: Failure) -> None:
        nonlocal status
        if failure.check(CancelledError):
            return  # Ctrl-C during the tour
        status = 1
        reactor.stop()
        print(f"sniproxy: the tour failed: {_why(failure)}", file=sys.stderr)

    def over(_: object) -> None:
        if once:
            printer.heading("Done. Without --once (make run), the proxy keeps running.")
            reactor.stop()
        else:
            tour.what_next()

    def begin() -> None:
        nonlocal walk
        walk = Deferred.fromCoroutine(tour.walk()).addTimeout(TIMEOUT_S, reactor)
        walk.addCallback(over).addErrback(failed)

    def end() -> Deferred[None]:
        if walk is not None:
            walk.cancel()
        return Deferred.fromCoroutine(tour.stop())

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", end)
    reactor.run()
    return status


def _why(failure: Failure) -> str:
    if failure.check(ClientError):
        return failure.getErrorMessage()
    if failure.check(DeferredTimeout):
        return f"timed out after {TIMEOUT_S} s"
    return f"{failure.type.__name__}: {failure.getErrorMessage()}" if failure.type else str(failure)


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Parse the command line and run the tour. @return: the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sniproxy.demo",
        description="Runs two demo brokers and the proxy, and shows a client in both phases of PIP-60.",
    )
    parser.add_argument(
        "--port", type=_port, default=4443, help="the port of the proxy on 127.0.0.1; 0 for any; default: 4443"
    )
    parser.add_argument("--once", action="store_true", help="exit after the tour, with status 0 if all steps succeeded")
    options = parser.parse_args(arguments)
    reactor = global_reactor()
    printer = TourPrinter(sys.stdout if out is None else out)
    with TemporaryDirectory(prefix="sniproxy-demo-") as folder:
        tour = Tour(reactor, printer, Path(folder), options.port)
        try:
            tour.start()
        except CannotListenError as error:
            other = options.port + 1 if options.port < 65535 else 4443
            cure = f"choose another: make run PORT={other} (python -m sniproxy.demo --port {other})"
            print(f"sniproxy: {why_not_listening(error)}; {cure}", file=sys.stderr)
            return 1
        return run(reactor, tour, printer, options.once)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port
