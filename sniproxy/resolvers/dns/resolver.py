"""The DNS resolver: addresses of a name, or of the hosts of a service, with the times that DNS gives them.

The system's own resolver, which a plain target is looked up by, says no times, and asks for each connection. It reads
/etc/hosts, which this one does not: clients form names, and names such as localhost or ip6-loopback, which this machine
alone gives addresses, must not lead them to it.
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
from sniproxy.resolvers.dns.client import NO_ANSWER, NameServers, QueryFailed, parse_server
from sniproxy.resolvers.dns.gathering import gather
from sniproxy.resolvers.dns.resolvconf import ResolvConf, parse_resolv_conf
from sniproxy.resolvers.dns.wire import AAAA, SERVER_FAILED, SRV, A, Answer, Service, services
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import PORT, Template, parse_template
from sniproxy.util.files import WATCH_INTERVAL_S, signature
from sniproxy.util.names import client_of, ip_literal

SYSTEM = "/etc/resolv.conf"

MAX_CONF_BYTES = 65536
"""Characters of it that are read."""

ATTEMPTS = 3
"""Queries to each server that the option C{servers} names."""

MAX_SERVICES = 16
"""Hosts of a service whose addresses are asked for; those of the first priorities."""

MAX_ADDRESSES = 1000
"""Addresses of a name that are kept of each family: a server can put 4,000 into one answer."""

FAMILY_DELAY_S = 0.05
"""Seconds that the other address family gets when one has answered (RFC 8305, section 3: Resolution Delay)."""

NO_NAME_DELAY_S = 1.0
"""Seconds that the other address family gets when one says that there is no such name: some servers say so by mistake
for one type (RFC 4074, section 4.2)."""

HOST_DELAY_S = 0.5
"""Seconds that the other hosts of a service get when one has addresses: long enough for a lost datagram."""

PARTIAL_TTL_S = 5.0
"""Seconds for which an answer is kept at most when a family or a host of a service did not answer."""

MAX_FORMED = 128
MAX_FORMED_PER_CLIENT = 32
"""Lookups at once of names that clients form. Lookups of names that the operator wrote have no such limit."""

OPTIONS = (
    Option("target", Kind.TEXT, 'whose addresses, as in "{1}.internal:6651"; unless given, "{server_name}"', None),
    Option("srv", Kind.TEXT, 'or whose SRV records, as in "_pulsar._tcp.{1}.internal"', None),
    Option("servers", Kind.TEXTS, 'name servers, as in "192.0.2.53"; unless given, those of the system', None),
    Option("ipv4", Kind.FLAG, "ask for IPv4 addresses", True),
    Option("ipv6", Kind.FLAG, "ask for IPv6 addresses", True),
)


@attrs.frozen
class _Places:
    """The addresses of one host, and for how many seconds they hold."""

    addresses: tuple[str, ...]
    ttl: float


@implementer(IServerNameResolver)
class DNSResolver:
    """@param template: of the name that is asked for. @param is_service: by its SRV records.

    @param kinds: A, AAAA or both, in the order of the addresses. @param conf: has the search list.
    @param absolute: whether the search list is not used, as for a name that ends in a dot.
    """

    def __init__(
        self,
        reactor: Any,
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
        """@raise Refused: no such name, or nothing of the kind that was asked for. @raise Unavailable: no answer."""
        try:
            target = self._template.fill(request)
        except BadTarget as error:
            raise Refused(f"no name to ask for comes of this one: {error}") from error
        if not target.client_formed:
            return await self._resolve(target)
        with self._permit(client_of(request.peer)):
            return await self._resolve(target)

    @contextmanager
    def _permit(self, client: str) -> Iterator[None]:
        """Count a lookup that a client caused. @raise Unavailable: there are too many."""
        # No more than what is left for others: a few clients together cannot take all places.
        left = MAX_FORMED - self._formed.total()
        if self._formed[client] >= min(MAX_FORMED_PER_CLIENT, left):
            error = Unavailable("too many lookups at once of names that clients form")
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
            places = await self._places(target.host, formed)
            return Resolution([attrs.evolve(target, addresses=places.addresses)], places.ttl)
        answer = await self._search(target.host, formed, "SRV record", lambda name: self._servers.ask(name, SRV))
        hosts = services(answer.records)[:MAX_SERVICES]
        if not hosts:
            raise Refused(f"{target.host}: the service is not available there", answer.ttl)
        return await self._hosts(hosts, formed, answer.ttl)

    async def _hosts(self, hosts: Sequence[Service], formed: bool, ttl: float) -> Resolution:
        """The hosts of a service that have addresses: one target each, with its weight."""
        asked = [Deferred.fromCoroutine(self._places(host.host, formed, absolute=True)) for host in hosts]
        came = await gather(self._reactor, asked, lambda _: HOST_DELAY_S)
        targets = []
        refused: Refused | None = None
        failed: Exception | None = None
        for host, one in zip(hosts, came, strict=True):
            if isinstance(one, _Places):
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

    async def _places(self, host: str, formed: bool, absolute: bool = False) -> _Places:
        """The addresses of a host. @param absolute: the search list is not used.

        @raise Refused: there are none. @raise Unavailable: no answer.
        """
        if ip_literal(host) is not None:
            return _Places((host,), float("inf"))
        kinds = {(A,): "IPv4 address", (AAAA,): "IPv6 address"}.get(tuple(self._kinds), "address")
        answer = await self._search(host, formed, kinds, self._families, absolute)
        return _Places(tuple(record.to_text() for record in answer.records), answer.ttl)

    async def _search(
        self,
        name: str,
        formed: bool,
        what: str,
        ask: Callable[[str], Awaitable[Answer]],
        absolute: bool = False,
    ) -> Answer:
        """The first of the names that a name may mean which has records, as libc searches.

        A name that a client formed is absolute: the search list would lead it past C{allow_names}.

        @raise Refused: none has. @raise Unavailable: one is not known.
        """
        candidates = self._conf().candidates(name)
        names = [name] if formed or absolute or self._absolute else candidates or [name]
        failed: Unavailable | None = None
        empty: list[Answer] = []
        for full in names:
            try:
                answer = await ask(full)
            except QueryFailed as error:
                failed = failed or error
                if error.cause != SERVER_FAILED:  # libc, too, tries no other name then
                    break
                continue
            if answer.records:
                return answer
            empty.append(answer)
        if failed is not None:
            raise failed
        why = f"has no {what}" if any(answer.exists for answer in empty) else "does not exist"
        tried = [full for full in names if full != name]
        more = f" (nor does any of {', '.join(tried)})" if tried else ""
        if formed and candidates[:1] != [name]:
            more = " (a name that a client forms is absolute: the search list of resolv.conf is not used)"
        raise Refused(f"{name} {why}{more}", min(answer.ttl for answer in empty))

    async def _families(self, name: str) -> Answer:
        """The addresses that a full name has, of each family that answers in time.

        @raise LookupFailed: there are none, and one family is not known.
        """
        asked = [Deferred.fromCoroutine(self._servers.ask(name, kind)) for kind in self._kinds]
        came = await gather(self._reactor, asked, _patience)
        answers = [one for one in came if isinstance(one, Answer)]
        records = tuple(record for one in answers for record in one.records[:MAX_ADDRESSES])
        failed = [one for one in came if isinstance(one, Exception)]
        whole = len(answers) == len(asked)
        # What is below a name that does not exist does not exist either, of whatever type (RFC 8020).
        if not records and not whole and all(one.exists for one in answers):
            raise failed[0]
        ttl = min(one.ttl for one in answers)
        return Answer(records, ttl if whole else min(ttl, PARTIAL_TTL_S), any(one.exists for one in answers))


def _patience(answer: Answer) -> float | None:
    if answer.records:
        return FAMILY_DELAY_S
    return None if answer.exists else NO_NAME_DELAY_S


class SystemConf:
    """The system's resolv.conf, read again when it has changed; it is looked at once a second at most."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._look_at = 0.0
        self._seen: object = None
        self._conf: ResolvConf | None = None

    def __call__(self) -> ResolvConf:
        now = self._reactor.seconds()
        if self._conf is not None and now < self._look_at:
            return self._conf
        self._look_at = now + WATCH_INTERVAL_S
        seen = signature(SYSTEM)
        if self._conf is None or seen != self._seen:
            try:
                with open(SYSTEM, encoding="utf-8", errors="replace") as file:
                    text = file.read(MAX_CONF_BYTES)
            except OSError:  # it is being replaced, or there is none
                return self._conf or _parse("")
            self._seen = seen
            self._conf = _parse(text)
        return self._conf


def _parse(text: str) -> ResolvConf:
    return parse_resolv_conf(text, socket.gethostname(), os.environ)


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
    conf = _conf(reactor, options["servers"])
    # What is filled in has lost its last dot.
    absolute = text.partition(":")[0].endswith(".")
    return DNSResolver(reactor, NameServers(reactor, conf), conf, template, srv is not None, kinds, absolute)


def _conf(reactor: Any, texts: Sequence[str] | None) -> Callable[[], ResolvConf]:
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
