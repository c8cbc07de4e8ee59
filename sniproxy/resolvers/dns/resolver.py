"""The C{dns} resolver: looks up the addresses of a name, or of the hosts in its SRV records, with their TTLs.

A plain target is looked up with the system's resolver, which gives no TTL. Unlike that one, this resolver does not read
/etc/hosts: clients form names, and a name such as localhost must not lead them to this machine.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from twisted.internet.defer import Deferred
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
    Unavailable,
)
from sniproxy.resolvers.dns.client import NO_ANSWER, NameServers, QueryFailed
from sniproxy.resolvers.dns.gathering import gather
from sniproxy.resolvers.dns.resolvconf import ResolvConf, parse_resolv_conf, parse_server
from sniproxy.resolvers.dns.wire import AAAA, SERVER_FAILED, SRV, A, DNSAnswer, Service, sort_services
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import PORT, PROXY_PORT, Template, parse_template
from sniproxy.util.files import WATCH_INTERVAL_S, signature
from sniproxy.util.names import client_of, ip_literal
from sniproxy.util.reactor import IReactor

SYSTEM = "/etc/resolv.conf"

MAX_CONF_BYTES = 65536
"""Characters of resolv.conf that are read."""

ATTEMPTS = 3
"""Queries to each server of the option C{servers}."""

MAX_SERVICES = 16
"""Hosts of a service that are looked up, in the order of their priorities."""

MAX_ADDRESSES = 1000
"""Addresses that are used of each family. An answer can have 4,000."""

FAMILY_DELAY_S = 0.05
"""Seconds to wait for the second address family after an answer for the first (RFC 8305, section 3)."""

NO_NAME_DELAY_S = 1.0
"""Seconds to wait for the second address family after NXDOMAIN for the first: some servers wrongly answer so for one
type (RFC 4074, section 4.2)."""

HOST_DELAY_S = 0.5
"""Seconds to wait for the other hosts of a service after one has addresses: long enough for a lost datagram."""

PARTIAL_TTL_S = 5.0
"""The largest TTL, in seconds, of an answer that lacks a family or a host, because its lookup failed or was late."""

MAX_FORMED = 128
MAX_FORMED_PER_CLIENT = 32
"""Concurrent lookups of client-formed names. Lookups of names that the operator wrote are not limited."""

OPTIONS = (
    Option("target", Kind.TEXT, 'name to look up, as in "{1}.internal:6651"; default: "{server_name}"', None),
    Option("srv", Kind.TEXT, 'name whose SRV records are used instead, as in "_pulsar._tcp.{1}.internal"', None),
    Option("servers", Kind.TEXTS, 'name servers, as in "192.0.2.53"; default: those of resolv.conf', None),
    Option("ipv4", Kind.FLAG, "look up IPv4 addresses", True),
    Option("ipv6", Kind.FLAG, "look up IPv6 addresses", True),
)


@attrs.frozen
class _HostAddresses:
    """The addresses of a host, with their TTL in seconds."""

    addresses: tuple[str, ...]
    ttl: float


@implementer(IServerNameResolver)
class DNSResolver:
    """Made by L{make}.

    @param template: the name to look up. @param is_service: whether to use its SRV records.
    @param kinds: A, AAAA or both, in the order of the addresses.
    @param conf: gives the search list. @param absolute: never use the search list, as for a name that ends in a dot.
    """

    def __init__(
        self,
        reactor: IReactor,
        servers: NameServers,
        conf: Callable[[], ResolvConf],
        template: Template,
        is_service: bool,
        kinds: Sequence[Any],
        absolute: bool = False,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._conf = conf
        self._template = template
        self._is_service = is_service
        self._kinds = kinds
        self._absolute = absolute
        self._formed: Counter[str] = Counter()

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: the name does not exist or has no such records. @raise Unavailable: the lookup failed."""
        try:
            target = self._template.fill(request)
        except BadTarget as error:
            raise Refused(f"cannot form a DNS name from this name: {error}") from error
        if not target.client_formed:
            return await self._resolve(target)
        with self._permit(client_of(request.peer)):
            return await self._resolve(target)

    @contextmanager
    def _permit(self, client: str) -> Iterator[None]:
        """Count a lookup of a client-formed name. @raise Unavailable: there are too many."""
        # A client may have at most as many as are left for others, so that a few clients together cannot use up the
        # limit.
        left = MAX_FORMED - self._formed.total()
        if self._formed[client] >= min(MAX_FORMED_PER_CLIENT, left):
            error = Unavailable("too many concurrent lookups of client-formed names")
            error.local = True
            raise error
        self._formed[client] += 1
        try:
            yield
        finally:
            self._formed[client] -= 1
            if not self._formed[client]:
                del self._formed[client]

    async def _resolve(self, target: Target) -> Resolution:
        formed = target.client_formed
        if not self._is_service:
            if ip_literal(target.host) is not None:
                return Resolution([target])
            found = await self._addresses(target.host, formed)
            return Resolution([attrs.evolve(target, addresses=found.addresses)], found.ttl)
        answer = await self._search(target.host, formed, "SRV record", lambda name: self._servers.ask(name, SRV))
        hosts = sort_services(answer.records)[:MAX_SERVICES]
        if not hosts:
            raise Refused(f"{target.host} has no usable SRV record", answer.ttl)
        return await self._hosts(hosts, formed, answer.ttl)

    async def _hosts(self, hosts: Sequence[Service], formed: bool, ttl: float) -> Resolution:
        """One target for each host of a service that has addresses, with its weight."""
        lookups = [Deferred.fromCoroutine(self._addresses(host.host, formed, absolute=True)) for host in hosts]
        results = await gather(self._reactor, lookups, lambda _: HOST_DELAY_S)
        targets = []
        refused: Refused | None = None
        failed: Exception | None = None
        for host, one in zip(hosts, results, strict=True):
            if isinstance(one, _HostAddresses):
                ttl = min(ttl, one.ttl)
                targets.append(Target(host.host, host.port, host.weight, "", formed, "", one.addresses))
            elif isinstance(one, Refused):
                refused = refused or one
                ttl = min(ttl, one.ttl)
            else:
                failed = failed or (one if isinstance(one, Exception) else None)
                ttl = min(ttl, PARTIAL_TTL_S)
        if not targets:
            raise failed or refused or Unavailable(f"{hosts[0].host}: {NO_ANSWER}")
        return Resolution(targets, ttl)

    async def _addresses(self, host: str, formed: bool, absolute: bool = False) -> _HostAddresses:
        """The addresses of a host. @param absolute: do not use the search list.

        @raise Refused: it has none. @raise Unavailable: the lookup failed.
        """
        if ip_literal(host) is not None:
            return _HostAddresses((host,), float("inf"))
        kinds = {(A,): "IPv4 address", (AAAA,): "IPv6 address"}.get(tuple(self._kinds), "address")
        answer = await self._search(host, formed, kinds, self._families, absolute)
        return _HostAddresses(tuple(record.to_text() for record in answer.records), answer.ttl)

    async def _search(
        self,
        name: str,
        formed: bool,
        what: str,
        ask: Callable[[str], Awaitable[DNSAnswer]],
        absolute: bool = False,
    ) -> DNSAnswer:
        """The records of the first candidate name that has some, in the order of libc.

        A client-formed name is absolute: the search list would bypass C{allow_names}.

        @param what: the record type, for errors. @param ask: looks one name up.
        @raise Refused: no candidate has records. @raise Unavailable: a lookup failed, and no other name has records.
        """
        candidates = self._conf().candidates(name)
        names = [name] if formed or absolute or self._absolute else candidates or [name]
        failed: Unavailable | None = None
        empty: list[DNSAnswer] = []
        for full in names:
            try:
                answer = await ask(full)
            except QueryFailed as error:
                failed = failed or error
                if error.cause != SERVER_FAILED:  # libc stops here, too
                    break
                continue
            if answer.records:
                return answer
            empty.append(answer)
        if failed is not None:
            raise failed
        why = f"has no {what}" if any(answer.exists for answer in empty) else "does not exist"
        tried = [full for full in names if full != name]
        more = f" (also tried: {', '.join(tried)})" if tried else ""
        if formed and candidates[:1] != [name]:
            more = " (the resolv.conf search list is not used for client-formed names)"
        raise Refused(f"{name} {why}{more}", min(answer.ttl for answer in empty))

    async def _families(self, name: str) -> DNSAnswer:
        """The addresses of a full name, of each family that answers in time.

        @raise QueryFailed: there are none, and the lookup of one family failed.
        """
        lookups = [Deferred.fromCoroutine(self._servers.ask(name, kind)) for kind in self._kinds]
        results = await gather(self._reactor, lookups, _grace)
        answers = [one for one in results if isinstance(one, DNSAnswer)]
        records = tuple(record for one in answers for record in one.records[:MAX_ADDRESSES])
        failed = [one for one in results if isinstance(one, Exception)]
        whole = len(answers) == len(lookups)
        # A name that does not exist for one type does not exist for any (RFC 8020).
        if not records and not whole and all(one.exists for one in answers):
            raise failed[0]
        ttl = min(one.ttl for one in answers)
        return DNSAnswer(records, ttl if whole else min(ttl, PARTIAL_TTL_S), any(one.exists for one in answers))


def _grace(answer: DNSAnswer) -> float | None:
    if answer.records:
        return FAMILY_DELAY_S
    return None if answer.exists else NO_NAME_DELAY_S


class SystemConf:
    """The system's resolv.conf. Checks once a second at most whether it has changed, and reads it again then."""

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._next_check = 0.0
        self._seen: object = None
        self._conf: ResolvConf | None = None

    def __call__(self) -> ResolvConf:
        now = self._reactor.seconds()
        if self._conf is not None and now < self._next_check:
            return self._conf
        self._next_check = now + WATCH_INTERVAL_S
        seen = signature(SYSTEM)
        if self._conf is None or seen != self._seen:
            try:
                with open(SYSTEM, encoding="utf-8", errors="replace") as file:
                    text = file.read(MAX_CONF_BYTES)
            except OSError:  # the file is missing or being replaced
                return self._conf or _parse("")
            self._seen = seen
            self._conf = _parse(text)
        return self._conf


def _parse(text: str) -> ResolvConf:
    return parse_resolv_conf(text, socket.gethostname(), os.environ)


def make(options: Mapping[str, Any], reactor: IReactor) -> DNSResolver:
    """@raise BadOption: an option is invalid."""
    target, srv = options["target"], options["srv"]
    if target is not None and srv is not None:
        raise BadOption("srv", srv, "write either target or srv")
    key, text = ("srv", srv) if srv is not None else ("target", target or "{server_name}")
    try:
        template = parse_template(text)
    except BadTarget as error:
        raise BadOption(key, text, str(error)) from error
    if template.weight != 1:
        raise BadOption(
            key,
            text,
            "remove the weight: all addresses of a name have the same, and SRV records have their own",
        )
    if srv is not None and (":" in text.replace("{", "").replace("}", "") or template.places & {PORT, PROXY_PORT}):
        raise BadOption("srv", srv, "write a name without a port: SRV records have the port")
    kinds = [kind for kind, wanted in ((AAAA, options["ipv6"]), (A, options["ipv4"])) if wanted]
    if not kinds:
        raise BadOption("ipv4", False, "one of ipv4 and ipv6 must be true")
    conf = _conf(reactor, options["servers"])
    # Filling the template removes the last dot.
    absolute = text.partition(":")[0].endswith(".")
    return DNSResolver(reactor, NameServers(reactor, conf), conf, template, srv is not None, kinds, absolute)


def _conf(reactor: IReactor, texts: Sequence[str] | None) -> Callable[[], ResolvConf]:
    if texts is None:
        return SystemConf(reactor)
    servers = []
    for text in texts:
        try:
            servers.append(parse_server(text))
        except ValueError as error:
            raise BadOption("servers", text, 'write an address, as in "192.0.2.53" or "[2001:db8::53]:5353"') from error
    if not servers:
        raise BadOption("servers", texts, "name at least one server")
    conf = ResolvConf(tuple(servers), attempts=ATTEMPTS)
    return lambda: conf
