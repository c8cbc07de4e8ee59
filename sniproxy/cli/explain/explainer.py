"""Explains what happens to a server name: route, resolver, policy and, on request, a dial. Accepts no connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import attrs
from OpenSSL import SSL
from twisted.internet.defer import TimeoutError as DeferredTimeout

from sniproxy.cli.explain.brokernames import BrokerNames, place
from sniproxy.cli.explain.report import CertificateReport, DialReport, Report, TargetReport
from sniproxy.cli.explain.resolvers import CLIENT_ADDRESS, NoAnswer, ResolverQueries
from sniproxy.cli.explain.routes import RouteChoice, RouteChooser, client_notes, shared_names
from sniproxy.config.describe import loop_guard
from sniproxy.config.model import PLAINTEXT, Listener, Route
from sniproxy.config.warnings import templates
from sniproxy.connection.dial import source_of
from sniproxy.connection.termination import Terminator, to_broker
from sniproxy.events import Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.getaddrinfo import Cause, LookupFailed, no_answer
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.net.veto import DestinationVeto
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.routing.clientlist import ClientList, check_client
from sniproxy.routing.patterns import is_expression
from sniproxy.server.build import Built
from sniproxy.tls.alerts import Alert
from sniproxy.tls.contexts import unverified_connection
from sniproxy.tls.pem import certificate_names
from sniproxy.tls.selection import covers
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.names import host_port, ip_literal
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded


@attrs.frozen
class ExplainOptions:
    """@ivar connect: dial the targets. @ivar also: additional names that certificates must cover.

    @ivar client: address and port of the client. None: any client. @ivar tlvs: of its PROXY protocol header.
    @ivar proxy_port: the destination port of that header. None: the listener's.
    """

    connect: bool = False
    also: Sequence[str] = ()
    client: str | None = None
    tlvs: Mapping[str, str] = attrs.field(factory=dict)
    proxy_port: int | None = None


class Explainer:
    """Runs the parts that were built from a configuration, without listening.

    @param now: returns the current time, with a time zone.
    """

    def __init__(
        self, built: Built, reactor: IReactor, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._built = built
        self._configuration = built.configuration
        self._reactor = reactor
        self._now = now
        self._chooser = RouteChooser(self._configuration)
        self._queries = ResolverQueries(built, reactor)
        self._broker_names = BrokerNames(self._queries, self._chooser)
        self._veto = DestinationVeto(loop_guard(self._configuration), self._configuration.policy)
        self._closer = LingeringCloser(reactor)
        self._dialer = Dialer(reactor, self._veto.denies, self._closer)

    async def explain(self, name: str | None, listener: Listener, options: ExplainOptions) -> Report:
        """Explain one name on a listener. @param name: normalised; None for a ClientHello without a server name."""
        choice = self._chooser.choose(name, listener)
        report = await self._follow(name, listener, choice, options)
        notes = tuple(report.notes)
        if listener.plaintext is None:
            own = frozenset(target.place for target in report.targets)
            checked = any(one.dialled is not None and one.dialled.certificate is not None for one in report.targets)
            places = await self._broker_names.places(listener)
            notes += tuple(client_notes(self._configuration, name, places, own, checked and not options.also))
        return attrs.evolve(report, others=choice.others, notes=notes)

    async def explain_all(self, listener: Listener, options: ExplainOptions) -> list[Report]:
        """Explain each route of a listener.

        If the targets of a wildcard or an expression depend on the name, only its resolver is probed.
        """
        return [await self._explain_route(name, route, listener, options) for name, route in self._routes(listener)]

    async def wait_closed(self) -> None:
        """Wait until all connections are closed."""
        await self._closer.settled()

    def _routes(self, listener: Listener) -> Iterator[tuple[str | None, Route]]:
        configuration = self._configuration
        if listener.plaintext is not None:
            yield None, listener.plaintext
            return
        for route in configuration.routes:
            if route.listener in (None, listener.name):
                plain = route.server_name and not is_expression(route.server_name) and "*" not in route.server_name
                yield route.server_name if plain else None, route
        for route_or_none in (configuration.default, configuration.no_server_name):
            if route_or_none is not None:
                yield None, route_or_none

    async def _explain_route(
        self, name: str | None, route: Route, listener: Listener, options: ExplainOptions
    ) -> Report:
        why = "checked by --all"
        if name is not None:
            choice = self._chooser.choose(name, listener, others=False)
            if choice.route is not route:
                other = "none" if choice.route is None else choice.route.title
                shadow = f"shadowed: {other} matches this name on this listener"
                return Report(name, listener.name, route.title, why, refused=shadow)
        return await self._follow(name, listener, RouteChoice(route, why), options)

    async def _follow(
        self, name: str | None, listener: Listener, choice: RouteChoice, options: ExplainOptions
    ) -> Report:
        route = choice.route
        if route is None:
            return Report(name, listener.name, None, choice.why, refused=choice.why)
        report = Report(name, listener.name, route.title, choice.why, notes=tuple(_unread(listener, options)))
        tlvs = options.tlvs if listener.proxy_protocol is not None else {}
        source = None
        terminator = self._built.terminators.get(listener.name)
        try:
            if terminator is not None and (name is not None or route.nameless):
                terminator.server_name(name)
            given = bool(options.client or options.tlvs)
            report = attrs.evolve(
                report,
                target_source="client" if route.from_client else None,
                client_unchecked=(route.only_from is not None and not given)
                or (route.from_client and options.client is None),
                only_from=None if route.only_from is None else str(route.only_from),
                send_proxy=None if route.send_proxy is None else _header_place(listener, route.send_proxy),
            )
            if not given and listener.proxy_protocol is None and route.only_from is not None:
                _check_networks(listener, route.only_from)
            if route.only_from is not None and given:
                check_client(route.only_from, route.server_name, options.client or CLIENT_ADDRESS, tlvs)
            if route.from_client and options.client is not None:
                source = source_of(options.client)
        except Refusal as refusal:
            return attrs.evolve(report, refused=str(refusal))
        if name is None and _needs_name(route):
            return await self._probe(report, listener, route)
        report = attrs.evolve(report, resolver=route.resolver.title)
        try:
            answer = await self._queries.query(name, listener, route, options.client, tlvs, options.proxy_port)
        except NoAnswer as no:
            return attrs.evolve(report, refused=str(no), watches=self._queries.watch_states(route.resolver))
        targets = [
            await self._check_target(name, listener, route, target, terminator, source, options)
            for target in answer.resolution.targets
        ]
        return attrs.evolve(
            report,
            answered=answer.by,
            passed=answer.passed,
            watches=self._queries.watch_states(route.resolver),
            known_as=self._queries.known_as(route.resolver, name),
            ttl=answer.resolution.ttl,
            targets=targets,
        )

    async def _probe(self, report: Report, listener: Listener, route: Route) -> Report:
        """Probe the resolver of a route whose targets depend on the name."""
        report = attrs.evolve(report, unchecked="depends on the name")
        if route.resolver.kind == "static":
            return report
        report = attrs.evolve(report, resolver=route.resolver.title)
        try:
            await self._queries.probe(listener, route)
        except NoAnswer as no:
            report = attrs.evolve(report, refused=str(no))
        return attrs.evolve(report, watches=self._queries.watch_states(route.resolver))

    async def _check_target(
        self,
        name: str | None,
        listener: Listener,
        route: Route,
        target: Target,
        terminator: Terminator | None,
        source: str | None,
        options: ExplainOptions,
    ) -> TargetReport:
        """@param source: the address to dial from. None: any."""
        denies = self._dialer.veto_from(source)
        denied = denies(target, None)
        addresses: dict[str, str | None] = {}
        unresolved = ""
        if denied is None:
            try:
                resolved = await self._addresses(target)
                addresses = {address: denies(target, address) for address in resolved}
            except LookupFailed as error:
                unresolved = str(error)
        found = TargetReport(str(target), target.weight, denied, addresses, place=place(target), unresolved=unresolved)
        if not options.connect or not found.allowed:
            return found
        own = () if name is None else (name,)
        shared = () if name is None else shared_names(await self._broker_names.places(listener), name, found.place)
        required = tuple(dict.fromkeys((*own, *shared, *options.also)))
        # As a health check: the header of a connection of our own, which claims no client.
        header = b"" if route.send_proxy is None or terminator is not None else route.send_proxy.own()
        return attrs.evolve(found, dialled=await self._dial(name, target, terminator, required, header))

    async def _addresses(self, target: Target) -> Sequence[str]:
        """The IP addresses of a target. @raise LookupFailed: it has none."""
        if target.addresses or ip_literal(target.host) is not None:
            return target.addresses or [target.host]
        lookups, seconds = self._dialer.lookups, self._configuration.timeouts.connect
        pending = lookups.formed(target.host, None) if target.client_formed else lookups.addresses(target.host)
        try:
            return await pending.addTimeout(seconds, self._reactor)
        except DeferredTimeout as error:
            raise LookupFailed(Cause.NO_ANSWER, no_answer(seconds)) from error

    async def _dial(
        self,
        name: str | None,
        target: Target,
        terminator: Terminator | None,
        required: Sequence[str],
        header: bytes,
    ) -> DialReport:
        seconds, began = self._configuration.timeouts.connect, self._reactor.seconds()
        try:
            plain = await self._dialer.dial([target], seconds, lambda target: None)
        except DialError as error:
            return DialReport(error=str(error).removeprefix(f"{target}: "))
        took = self._reactor.seconds() - began
        host, port = plain.getpeername()[:2]
        done = DialReport(host_port(host, port), took)
        verified = terminator is not None and name is not None
        tls = terminator.broker().connection(name) if terminator and name else unverified_connection(name)
        with suppress(OSError):  # the handshake meets the same error, and reports it
            plain.send(header)
        sock = TLSSocket(plain, tls)
        try:
            if verified:
                await to_broker(self._reactor, sock, name or "", seconds, BufferAccount())
            else:
                await Handshake(self._reactor, sock, seconds, BufferAccount()).run()
        except (HandshakeError, Refusal) as error:
            why = str(error) if verified else f"the TLS handshake failed: {bounded(str(error))}"
            return attrs.evolve(done, error=why)
        finally:
            self._closer(sock)
        return attrs.evolve(done, tls=tls.get_protocol_version_name(), certificate=self._certificate(tls, required))

    def _certificate(self, tls: SSL.Connection, required: Sequence[str]) -> CertificateReport | None:
        found = tls.get_peer_certificate()
        if found is None:
            return None
        certificate = found.to_cryptography()
        own = tuple(bounded(name) for name in certificate_names(certificate))
        expires = certificate.not_valid_after_utc
        days = (expires - self._now()).total_seconds() / 86_400
        good = {name: any(covers(pattern, name) for pattern in own) for name in required}
        return CertificateReport(own, expires.date().isoformat(), round(days, 2), good)


def _header_place(listener: Listener, send: SendProxy) -> str:
    """The PROXY protocol header that targets get, and where."""
    place = "before the hello"
    if listener.plaintext is not None:
        place = "before the client's bytes"
    elif listener.termination is not None:
        place = "inside TLS"
    fields = f" with {', '.join(send.tlvs)}" if send.tlvs else ""
    return f"{send.text}{fields}, {place}"


def _check_networks(listener: Listener, clients: ClientList) -> None:
    """@raise Refusal: the route is for no client of a listener that reads no headers."""
    if not clients.networks:
        why = (
            f"only_from has only ids of private endpoints, and listener {listener.name} reads no PROXY protocol headers"
        )
        raise Refusal(Result.DENIED, why, Alert.ACCESS_DENIED)


def _unread(listener: Listener, options: ExplainOptions) -> Iterator[str]:
    """A note on options for a header that a listener does not read."""
    given = [*(["--proxy-tlv"] if options.tlvs else []), *(["--proxy-port"] if options.proxy_port is not None else [])]
    if given and listener.proxy_protocol is None:
        which = " and ".join(given)
        yield f"listener {listener.name} reads no PROXY protocol headers, so clients have none here: {which} ignored"


def _needs_name(route: Route) -> bool:
    """Whether the targets of a route depend on the server name: through a resolver or a placeholder."""
    if route.nameless or route.server_name == PLAINTEXT:
        return False
    return route.resolver.kind != "static" or any(template.name_formed for template in templates(route))
