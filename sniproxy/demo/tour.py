"""What `python -m sniproxy.demo` does and shows: a cluster, the proxy and a client, all in this process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

import sniproxy
from sniproxy.client.failures import ClientError
from sniproxy.config.parser import parse
from sniproxy.demo.broker import BrokerEvent
from sniproxy.demo.client import Connected, DemoClient, Located, Published, ReadBack, Step
from sniproxy.demo.cluster import TLS_PORT, StandInCluster
from sniproxy.events import Connection
from sniproxy.logs.writer import WRITE_DELAY_S
from sniproxy.server.listeners import why_not_listening
from sniproxy.service import ProxyService

#: Owned by another broker than the one that the first lookup reaches, so that the answer says something.
TOPIC = "persistent://public/default/my-topic"
MESSAGE = b"Hello from behind the proxy"
TIMEOUT_S = 30

_ACTOR = 12


class TourPrinter:
    """Writes the tour; in colour where somebody looks at a terminal (NO_COLOR in the environment: never)."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")

    def text(self, text: str = "") -> None:
        """A plain line."""
        print(text, file=self._out, flush=True)

    def heading(self, text: str) -> None:
        """A line that stands out, after an empty one."""
        self.text()
        self.text(self._in("1", text))

    def line(self, actor: str, text: str) -> None:
        """Who does what."""
        self.text(f"  {self._in('36', actor.ljust(_ACTOR))}{text}")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def configuration(cluster: StandInCluster, port: int) -> str:
    """The proxy's configuration for a cluster, as a user would write it; but Ctrl-C shall end it at once."""
    names = "".join(
        f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{broker_port}"\n\n'
        for name, (host, broker_port) in cluster.addresses.items()
    )
    everyone = ", ".join(f'"{host}:{broker_port}"' for host, broker_port in cluster.addresses.values())
    return (
        f'[[listener]]\nname = "demo"\nendpoint = "tcp:{port}:interface=127.0.0.1"\n\n'
        f'[[route]]\nserver_name = "{cluster.service_name}"\ntarget = [{everyone}]\n\n'
        f'{names}[timeouts]\ndrain = 0\n\n[access_log]\npath = "-"\n'
    )


class Tour:
    """A cluster behind a proxy, and a client that goes through both phases of PIP-60.

    ``folder``: where the authority's certificate is written, ``ca.pem``. ``port``: the proxy's, 0 for any.
    ``address``: where the proxy listens, once it has started.
    """

    def __init__(self, reactor: Any, page: TourPrinter, folder: Path, port: int) -> None:
        self._reactor = reactor
        self._page = page
        self._port = port
        self._ca_file = folder / "ca.pem"
        self._ended: DeferredQueue[Connection] = DeferredQueue()
        self._walking = False
        self._cluster = StandInCluster(reactor, told=self._told)
        self._proxy: ProxyService | None = None
        self.address = ("127.0.0.1", port)

    def start(self) -> None:
        """Start the cluster and the proxy; raises `CannotListenError` when the proxy's port is busy."""
        self._cluster.start()
        self._ca_file.write_bytes(self._cluster.authority_pem)
        text = configuration(self._cluster, self._port)
        proxy = ProxyService(parse(text, "the demo's own"), self._reactor, observer=self._observe)
        proxy.startService()
        self._proxy = proxy
        self.address = proxy.addresses["demo"]

    async def stop(self) -> None:
        """End everything, the proxy first."""
        if self._proxy is not None:
            await self._proxy.stopService()
        await self._cluster.stop()

    async def walk(self) -> None:
        """Both phases, told line by line; raises what goes wrong on the way."""
        self._walking = True
        page, cluster = self._page, self._cluster
        host, port = self.address
        visitor = DemoClient(self._reactor, self.address, cluster.authority_pem, self._step)
        page.heading(f"sniproxy {sniproxy.__version__}: both phases of Pulsar's PIP-60, in one process")
        for name, (broker_host, broker_port) in cluster.addresses.items():
            page.line(_short(name), f"{name}, on {broker_host}:{broker_port}; no DNS knows the name")
        page.line("proxy", f"on {host}:{port}; reads the TLS server name (SNI), decrypts nothing")

        page.heading(f"1. Lookup phase: who owns {TOPIC}?")
        page.line("client", f"dials {host}:{port}, SNI = {cluster.service_name}, which means: any broker")
        url = await visitor.look_up(f"pulsar+ssl://{cluster.service_name}:{TLS_PORT}", TOPIC)
        await self._access_log(cluster.service_name)

        page.heading("2. Connect phase: to the owner, through the same proxy")
        owner = url.removeprefix("pulsar+ssl://").removesuffix(f":{TLS_PORT}")
        page.line("client", f"dials {host}:{port} again, SNI = {owner}, which means: this broker")
        await visitor.there_and_back(url, TOPIC, MESSAGE)
        await self._access_log(owner)
        self._walking = False

    def what_next(self) -> None:
        """Say what to try while the proxy serves."""
        page, (host, port) = self._page, self.address
        page.heading(f"That worked. The proxy serves {host}:{port} until Ctrl-C; its access log goes on here. Try:")
        first = next(iter(self._cluster.addresses))
        s_client = f"openssl s_client -brief -connect {host}:{port} -servername"
        page.text(f"  {s_client} {first} -CAfile {self._ca_file} </dev/null")
        page.text(f"  {s_client} nobody.test </dev/null    # refused: unrecognized_name")
        page.text("or a real client; Java, for one (the README has the others):")
        page.text(f'  PulsarClient.builder().serviceUrl("pulsar+ssl://{self._cluster.service_name}:{TLS_PORT}")')
        page.text(f'      .proxyServiceUrl("pulsar+ssl://{host}:{port}", ProxyProtocol.SNI)')
        page.text(f'      .tlsTrustCertsFilePath("{self._ca_file}").enableTlsHostnameVerification(true).build()')
        page.text()

    async def _access_log(self, server_name: str) -> None:
        """Wait until the proxy has written its line about the connection that has just ended."""
        self._page.text("  access log:")
        while (await self._ended.get()).server_name != server_name:
            pass
        # The proxy promises the line within so many seconds; without it the lines here would come mixed up.
        await deferLater(self._reactor, WRITE_DELAY_S, lambda: None)

    def _observe(self, connection: Connection) -> None:
        if self._walking:
            self._ended.put(connection)

    def _told(self, seen: BrokerEvent) -> None:
        texts = {
            "CONNECT": "gets the connection, TLS included",
            "LOOKUP": "is asked for the topic's owner",
            "SEND": "stores a message",
            "MESSAGE": "delivers it to a consumer",
        }
        if self._walking and seen.what in texts:
            self._page.line(_short(seen.broker), texts[seen.what])

    def _step(self, step: Step) -> None:
        match step:
            case Connected(server_name=name):
                self._page.line("client", f"has checked the certificate: it is good for {name}")
            case Located(url=url):
                self._page.line("client", f"is answered: {url}")
            case Published(ledger=ledger, entry=entry):
                self._page.line("client", f"has the receipt: it is message {ledger}:{entry}")
            case ReadBack(payload=payload):
                self._page.line("client", f'reads it back: "{payload.decode()}"')


def _short(name: str) -> str:
    return name.partition(".")[0]


def run(reactor: Any, tour: Tour, page: TourPrinter, once: bool) -> int:
    """Run the reactor for a started tour, until it is over (`once`) or Ctrl-C; return the exit status."""
    status = 0
    walk: Deferred[None] | None = None

    def failed(failure: Failure) -> None:
        nonlocal status
        if failure.check(CancelledError):
            return  # Ctrl-C in the middle of it
        status = 1
        reactor.stop()
        print(f"sniproxy: the tour failed: {_why(failure)}", file=sys.stderr)

    def over(_: object) -> None:
        if once:
            page.heading("That worked; without --once (make run) the proxy goes on serving.")
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
    if failure.check(TookTooLong):
        return f"it took more than {TIMEOUT_S} s"
    return f"{failure.type.__name__}: {failure.getErrorMessage()}" if failure.type else str(failure)


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Parse the command line, run the tour and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sniproxy.demo",
        description="Two stand-in Pulsar brokers, the proxy, and one client's way through both phases of PIP-60.",
    )
    parser.add_argument("--port", type=_port, default=4443, help="the proxy's port on 127.0.0.1; 0: any free one")
    parser.add_argument("--once", action="store_true", help="end after the tour; status 0 when all of it worked")
    options = parser.parse_args(arguments)
    # Only here: importing a module must not choose the reactor.
    from twisted.internet import reactor

    page = TourPrinter(sys.stdout if out is None else out)
    with TemporaryDirectory(prefix="sniproxy-demo-") as folder:
        tour = Tour(reactor, page, Path(folder), options.port)
        try:
            tour.start()
        except CannotListenError as error:
            other = options.port + 1 if options.port < 65535 else 4443
            cure = f"choose another: make run PORT={other} (python -m sniproxy.demo --port {other})"
            print(f"sniproxy: {why_not_listening(error)}; {cure}", file=sys.stderr)
            return 1
        return run(reactor, tour, page, options.once)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port
