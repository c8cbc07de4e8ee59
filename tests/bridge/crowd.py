"""A bridge, a proxy and scripted brokers in one process."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError
from sniproxy.client.lookups import Lookups
from sniproxy.pulsar.serviceurl import parse_service_url
from tests.client.scripted import VIP, Answer, Script, Scripted, lookup_answer, polite, url
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase
from tests.support.tlsservers import ServerTLS, listen
from tests.tls.material import CA, folder


def connects(to: str) -> Script:
    """Answer every lookup with this owner."""
    return lambda name, fields: [lookup_answer(fields, Answer.Connect, url(to))] if name == "LOOKUP" else []


def redirects(to: str, **more: Any) -> Script:
    return lambda name, fields: [lookup_answer(fields, Answer.Redirect, url(to), **more)] if name == "LOOKUP" else []


class Crowd:
    """A proxy with a route to each scripted broker, and a bridge in the same process that leads through it."""

    def __init__(
        self,
        case: SocketTestCase,
        scripts: Mapping[str, Script],
        more: str = "",
        clock: Any = reactor,
        authorities: Mapping[str, trustme.CA] | None = None,
    ) -> None:
        self.brokers: dict[str, Scripted] = {}
        files = folder(Path(case.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        routes = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
        for name, script in scripts.items():
            factory = self.brokers[name] = Scripted(polite(script))
            _, port = listen(case, factory, ServerTLS((authorities or {}).get(name, CA), name))
            routes += f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n'
        self.proxy = Proxy(case, routes, clock)
        more = more if more.startswith("service_url") else f'service_url = "{url(VIP)}"\n{more}'
        self.bridge = Proxy(
            case,
            '[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "bridge"\n'
            f'proxy_service_url = "pulsar+ssl://127.0.0.1:{self.proxy.port}"\nproxy_protocol = "SNI"\n'
            f'trust = "{files}/ca.pem"\n{more}\n# [[listener]]',
            clock,
        )

    @property
    def url(self) -> str:
        return f"pulsar://127.0.0.1:{self.bridge.port}"

    def heard(self, name: str) -> list[str]:
        return [command for command, _ in self.brokers[name].heard]


class BridgeCase(SocketTestCase):
    """A test with a bridge, a proxy and brokers."""

    def client(self, crowd: Crowd, **more: Any) -> Lookups:
        brokers = Brokers(reactor, Access(False, timeout_s=10.0, **more))
        self.addCleanup(brokers.close)
        return Lookups(brokers, parse_service_url(crowd.url))

    async def failure(self, waiting: Any) -> ClientError:
        try:
            await waiting
        except ClientError as failed:
            return failed
        raise self.failureException("it has not failed")

    def raw(self, crowd: Crowd) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", crowd.bridge.port), timeout=20)
        self.addCleanup(sock.close)
        return sock
