"""The program `python -m sniproxy.demo`: runs a cluster, the proxy and a client in one process, and shows each step."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

import sniproxy
from sniproxy.cli.adminclient import fetch_ledger
from sniproxy.client.failures import ClientError
from sniproxy.config.parser import parse
from sniproxy.demo.client import Connected, DemoClient, Located, Published, ReadBack, Step
from sniproxy.demo.printer import TourPrinter
from sniproxy.events import Connection
from sniproxy.logs.access import json_line
from sniproxy.server.listeners import why_not_listening
from sniproxy.service import ProxyService
from sniproxy.testing.pulsar import BrokerEvent
from sniproxy.testing.pulsar.cluster import TLS_PORT, PulsarCluster
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor, global_reactor

#: The broker that the first lookup reaches does not own this topic, so that the answer names another broker.
TOPIC = "persistent://public/default/my-topic"
CA_PEM, PROXY_PEM = "ca.pem", "proxy.pem"
"""Files of the demo: the authority that clients trust; key and certificate of the inspected listener."""

MESSAGE = b"Hello from behind the proxy"
TIMEOUT_S = 30
RETRY_INTERVAL_S = 0.05
"""Seconds between two queries for what the inspector has read."""


def configuration(cluster: PulsarCluster, port: int, folder: Path) -> str:
    """The configuration of the proxy for a cluster, without a drain time on Ctrl-C.

    @param folder: has the files of L{Tour.start}.
    """
    names = "".join(
        f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{broker_port}"\n\n'
        for name, (host, broker_port) in cluster.addresses.items()
    )
    all_targets = ", ".join(f'"{host}:{broker_port}"' for host, broker_port in cluster.addresses.values())
    return (
        f'[[listener]]\nname = "demo"\nendpoint = "tcp:{port}:interface=127.0.0.1"\n\n'
        '[[listener]]\nname = "inspected"\nendpoint = "tcp:0:interface=127.0.0.1"\ninspect = "pulsar"\n'
        f'certificates = "{folder / PROXY_PEM}"\nupstream_trust = "{folder / CA_PEM}"\n\n'
        f'[[route]]\nserver_name = "{cluster.service_name}"\ntarget = [{all_targets}]\n\n'
        f'{names}[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n\n[timeouts]\ndrain = 0\n'
    )


class Tour:
    """A cluster behind a proxy, and a client that runs both phases of PIP-60.

    @param folder: gets the files of the demo. @param port: the port of the proxy, 0 for any.
    @ivar address: the address of the proxy, after the start. @ivar inspected: the address of the listener that ends
        TLS and reads Pulsar. @ivar admin_url: the URL of the admin page.
    """

    def __init__(self, reactor: IReactor, printer: TourPrinter, folder: Path, port: int) -> None:
        self._reactor = reactor
        self._printer = printer
        self._port = port
        self._folder = folder
        self._ended: DeferredQueue[Connection] = DeferredQueue()
        self._walking = False
        self._cluster = PulsarCluster(reactor=reactor, tls=True, behind_proxy=True, on_event=self._on_event)
        self._proxy: ProxyService | None = None
        self.address = self.inspected = ("127.0.0.1", port)
        self.admin_url = ""

    def start(self) -> None:
        """Start the cluster and the proxy. @raise CannotListenError: the port of the proxy is in use."""
        self._cluster.start()
        (self._folder / CA_PEM).write_bytes(self._cluster.authority_pem)
        secret = self._folder / PROXY_PEM
        secret.touch(0o600)
        secret.write_bytes(self._cluster.proxy_pem())
        text = configuration(self._cluster, self._port, self._folder)
        proxy = ProxyService(parse(text, "the demo configuration"), self._reactor, observer=self._observe)
        proxy.startService()
        self._proxy = proxy
        self.address, self.inspected = proxy.addresses["demo"], proxy.addresses["inspected"]
        assert proxy.admin_address is not None
        self.admin_url = f"http://{host_port(*proxy.admin_address)}"

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

        printer.heading("3. Where the proxy ends TLS itself, it reads Pulsar: the same lookup, inspected")
        host, port = self.inspected
        printer.line("client", f"dials {host}:{port}, SNI = {cluster.service_name}; the proxy has a certificate for it")
        client = DemoClient(self._reactor, self.inspected, cluster.authority_pem, self._step)
        await client.look_up(f"pulsar+ssl://{cluster.service_name}:{TLS_PORT}", TOPIC)
        entry = await self._ledger_entry()
        printer.line("proxy", f"has read the answer: {_short(urlsplit(entry).hostname or entry)} owns the topic")
        await self._access_log(cluster.service_name)
        self._walking = False

    def what_next(self) -> None:
        """Print what to try while the proxy runs."""
        printer, (host, port) = self._printer, self.address
        printer.heading(f"Done. The proxy listens on {host}:{port} until Ctrl-C, and prints its access log here. Try:")
        printer.item(f"{self.admin_url}/", "the admin page, for a browser")
        program = _program("sniproxyctl")
        printer.item(f"{program} top {self.admin_url}", "brokers, tunnels and refusals, in another terminal")
        printer.item(f"{program} topics {self.admin_url}", "the topics of lookups on the inspected listener")
        first = next(iter(self._cluster.addresses))
        ca_file = self._folder / CA_PEM
        s_client = f"  openssl s_client -brief -connect {host}:{port} \\\n      -servername"
        printer.text(f"{s_client} {first} \\\n      -CAfile {ca_file} </dev/null")
        printer.text(f"{s_client} nobody.test </dev/null    # refused: unrecognized_name")
        printer.text("or a real client, such as Java (for others, see the README):")
        printer.text("  PulsarClient.builder()")
        printer.text(f'      .serviceUrl("pulsar+ssl://{self._cluster.service_name}:{TLS_PORT}")')
        printer.text(f'      .proxyServiceUrl("pulsar+ssl://{host}:{port}", ProxyProtocol.SNI)')
        printer.text(f'      .tlsTrustCertsFilePath("{ca_file}")')
        printer.text("      .enableTlsHostnameVerification(true).build()")
        printer.text()

    async def _ledger_entry(self) -> str:
        """The URL of the topic's owner, as the inspector knows it. It reads beside the tunnel, so this may wait."""
        while True:
            ledger = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), fetch_ledger, self.admin_url)
            for entry in ledger.topics:
                if entry.topic == TOPIC and entry.broker_url_tls:
                    return str(entry.broker_url_tls)
            await deferLater(self._reactor, RETRY_INTERVAL_S, lambda: None)

    async def _access_log(self, server_name: str) -> None:
        """Print the access log up to the line of the client's connection that has just ended."""
        self._printer.text("  access log:")
        while True:
            connection = await self._ended.get()
            self._printer.log(json_line(connection))
            if connection.server_name == server_name:
                return

    def _observe(self, connection: Connection) -> None:
        if self._walking:
            self._ended.put(connection)
        else:
            self._printer.log(json_line(connection))

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


def _program(name: str) -> str:
    """The path of a program beside this Python, in a form to type; its name if it is not there."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        return name
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


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
