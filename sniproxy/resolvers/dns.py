"""The DNS resolver: addresses of a name, or of the hosts of a service, with the times that DNS gives them.

The system's own resolver, which a plain target is looked up by, says no times, and asks for each connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IServerNameResolver,
    Kind,
    Option,
    Refused,
    Request,
    Resolution,
    Target,
)
from sniproxy.names import host_port, ip_literal
from sniproxy.resolvers.dnsclient import NameServers, parse_server, system_servers
from sniproxy.resolvers.dnswire import AAAA, SRV, A, Found, Service, services
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import PORT, Template, parse_template

SYSTEM = "/etc/resolv.conf"

MOST_SERVICES = 16
"""Hosts of a service whose addresses are asked for; those of the first priorities."""

OPTIONS = (
    Option("target", Kind.TEXT, 'whose addresses, as in "{1}.internal:6651"; unless given, "{server_name}"', None),
    Option("srv", Kind.TEXT, 'or whose SRV records, as in "_pulsar._tcp.{1}.internal"', None),
    Option("servers", Kind.TEXTS, 'name servers, as in "192.0.2.53"; unless given, those of the system', None),
    Option("ipv4", Kind.FLAG, "ask for IPv4 addresses", True),
    Option("ipv6", Kind.FLAG, "ask for IPv6 addresses", True),
)


@implementer(IServerNameResolver)
class DNSResolver:
    """@param template: of the name that is asked for. @param is_service: by its SRV records.

    @param kinds: A, AAAA or both.
    """

    def __init__(self, servers: NameServers, template: Template, is_service: bool, kinds: Sequence[Any]) -> None:
        self._servers = servers
        self._template = template
        self._is_service = is_service
        self._kinds = kinds

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: there is no such name, or nothing that was asked for. @raise Unavailable: nobody says."""
        try:
            target = self._template.fill(request)
        except BadTarget as error:
            raise Refused(f"no name to ask for comes of this one: {error}") from error
        formed = target.client_formed
        if not self._is_service:
            return await self._addresses([Service(target.host, target.port, 1)], formed)
        answer = await self._servers.ask(target.host, SRV)
        if not answer.records:
            raise _nothing(target.host, answer, "SRV record")
        hosts = services(answer.records)[:MOST_SERVICES]
        if not hosts:
            raise Refused(f"{target.host}: the service is not available there", answer.ttl)
        return await self._addresses(hosts, formed, answer.ttl)

    async def _addresses(self, hosts: Sequence[Service], formed: bool, ttl: float | None = None) -> Resolution:
        questions = [(host, kind) for host in hosts for kind in self._kinds if ip_literal(host.host) is None]
        asked = [Deferred.fromCoroutine(self._servers.ask(host.host, kind)) for host, kind in questions]
        answers = await DeferredList(asked, consumeErrors=True)
        ttls = [] if ttl is None else [ttl]
        targets = [_target(host, host.host, formed) for host in hosts if ip_literal(host.host) is not None]
        failure: BaseException | None = None
        empty: list[tuple[str, Found]] = []
        for (host, _), (_, result) in zip(questions, answers, strict=True):
            if isinstance(result, Failure):
                failure = failure or result.value
                continue
            ttls.append(result.ttl)
            targets += [_target(host, record.to_text(), formed) for record in result.records]
            if not result.records:
                empty.append((host.host, result))
        if targets:
            return Resolution(targets, min(ttls) if ttls else None)
        if failure is not None:
            raise failure
        raise _nothing(*empty[0], "address")


def _target(host: Service, address: str, formed: bool) -> Target:
    where = host_port(host.host, host.port)
    label = where if host.host == address else f"{where} ({address})"
    return Target(address, host.port, host.weight, label, formed, host.host)


def _nothing(name: str, answer: Found, what: str) -> Refused:
    why = f"has no {what}" if answer.exists else "does not exist"
    return Refused(f"{name} {why}", answer.ttl)


def make(options: Mapping[str, Any], reactor: Any) -> DNSResolver:
    """@raise BadOption: a name or a server cannot be read."""
    target, srv = options["target"], options["srv"]
    if target is not None and srv is not None:
        raise BadOption("srv", srv, "write either target or srv")
    key, text = ("srv", srv) if srv is not None else ("target", target or "{server_name}")
    try:
        template = parse_template(text)
    except BadTarget as error:
        raise BadOption(key, text, str(error)) from error
    if template.weight != 1:
        raise BadOption(key, text, "the addresses of a name take equal turns, and SRV records have their own weights")
    if srv is not None and (":" in text.replace("{", "").replace("}", "") or PORT in template.places):
        raise BadOption("srv", srv, "SRV records have the port; write a name alone")
    kinds = [kind for kind, wanted in ((AAAA, options["ipv6"]), (A, options["ipv4"])) if wanted]
    if not kinds:
        raise BadOption("ipv4", False, "one of ipv4 and ipv6 must be true")
    return DNSResolver(NameServers(reactor, _servers(options["servers"])), template, srv is not None, kinds)


def _servers(texts: Sequence[str] | None) -> list[tuple[str, int]]:
    if texts is None:
        try:
            with open(SYSTEM, encoding="ascii", errors="replace") as file:
                return system_servers(file.read())
        except OSError:
            return system_servers("")
    servers = []
    for text in texts:
        try:
            servers.append(parse_server(text))
        except ValueError as error:
            raise BadOption("servers", text, 'write an address, as in "192.0.2.53" or "[2001:db8::53]:5353"') from error
    if not servers:
        raise BadOption("servers", texts, "name at least one server")
    return servers
