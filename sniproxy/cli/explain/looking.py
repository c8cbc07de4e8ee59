"""Asks resolvers and the policy, and dials targets, by the proxy's own parts, but lets nobody in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import TimeoutError as DeferredTimeout

from sniproxy.cli.explain.asking import Asking, NoAnswer
from sniproxy.cli.explain.leading import Leading, place
from sniproxy.cli.explain.report import Dialled, Report, ShownCertificate, TargetReport
from sniproxy.cli.explain.why import Choices, RouteChoice, client_notes, shared_names
from sniproxy.config.describe import loop_guard
from sniproxy.config.model import NO_SERVER_NAME, PLAINTEXT, Listener, Route
from sniproxy.config.warnings import templates
from sniproxy.connection.termination import Terminator, to_broker
from sniproxy.events import Refusal
from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.getaddrinfo import Cause, LookupFailed, no_answer
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.routing.patterns import is_expression
from sniproxy.server.build import Built
from sniproxy.tls.contexts import unverified
from sniproxy.tls.pem import names
from sniproxy.tls.selection import covers
from sniproxy.util.names import host_port, ip_literal
from sniproxy.util.text import bounded


@attrs.frozen
class Wish:
    """@ivar connect: targets are dialled. @ivar also: further names that certificates must cover."""

    connect: bool = False
    also: Sequence[str] = ()


class Explainer:
    """Looks at what a configuration has been built to; nothing of it listens.

    @param now: the time of day, with a time zone.
    """

    def __init__(self, built: Built, reactor: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._built = built
        self._configuration = built.configuration
        self._reactor = reactor
        self._now = now
        self._choices = Choices(self._configuration)
        self._asking = Asking(built, reactor)
        self._leading = Leading(self._asking, self._choices)
        self._guard = loop_guard(self._configuration)
        self._closer = LingeringCloser(reactor)
        self._dialer = Dialer(reactor, self._veto, self._closer)

    async def explain(self, name: str | None, listener: Listener, wish: Wish) -> Report:
        """What becomes of a name. @param name: normalised; None: a hello without one."""
        choice = self._choices.choose(name, listener)
        report = await self._look(name, listener, choice, wish)
        notes: tuple[str, ...] = ()
        if name is not None and listener.plaintext is None:
            own = frozenset(goal.place for goal in report.goals)
            shown = any(goal.dialled is not None and goal.dialled.certificate is not None for goal in report.goals)
            led = await self._leading.led(listener)
            notes = tuple(client_notes(self._configuration, name, led, own, shown and not wish.also))
        return attrs.evolve(report, others=choice.others, notes=notes)

    async def all(self, listener: Listener, wish: Wish) -> list[Report]:
        """What becomes of each route, on a listener. Wildcards and expressions have no name of their own: of those that
        need one it is said so, and only whether their resolvers say anything is looked at.
        """
        return [await self._whole(name, route, listener, wish) for name, route in self._routes(listener)]

    async def settled(self) -> None:
        """Everything is closed."""
        await self._closer.settled()

    def _routes(self, listener: Listener) -> Iterator[tuple[str | None, Route]]:
        configuration = self._configuration
        if listener.plaintext is not None:
            yield None, listener.plaintext
            return
        for route in configuration.routes:
            if route.listener in (None, listener.name):
                plain = not is_expression(route.server_name) and "*" not in route.server_name
                yield route.server_name if plain else None, route
        for goal in (configuration.default, configuration.no_server_name):
            if goal is not None:
                yield None, goal

    async def _whole(self, name: str | None, route: Route, listener: Listener, wish: Wish) -> Report:
        why = "it is asked for itself"
        if name is not None:
            choice = self._choices.choose(name, listener, others=False)
            if choice.route is not route:
                taken = "none" if choice.route is None else choice.route.title
                shadow = f"shadowed: {taken} is taken for its name here"
                return Report(name, listener.name, route.title, why, refused=shadow)
        return await self._look(name, listener, RouteChoice(route, why), wish)

    async def _look(self, name: str | None, listener: Listener, choice: RouteChoice, wish: Wish) -> Report:
        route = choice.route
        if route is None:
            return Report(name, listener.name, None, choice.why, refused=choice.why)
        report = Report(name, listener.name, route.title, choice.why)
        terminator = self._built.terminators.get(listener.name)
        try:
            if terminator is not None and (name is not None or route.server_name == NO_SERVER_NAME):
                terminator.server_name(name)
        except Refusal as refusal:
            return attrs.evolve(report, refused=str(refusal))
        if name is None and _formed(route):
            return await self._unnamed(report, listener, route)
        report = attrs.evolve(report, resolver=route.resolver.title)
        try:
            answer = await self._asking.ask(name, listener, route)
        except NoAnswer as no:
            return attrs.evolve(report, refused=str(no), watches=self._asking.watches(route.resolver))
        goals = [await self._goal(name, listener, target, terminator, wish) for target in answer.resolution.targets]
        return attrs.evolve(
            report,
            answered=answer.by,
            passed=answer.passed,
            watches=self._asking.watches(route.resolver),
            ttl=answer.resolution.ttl,
            goals=goals,
        )

    async def _unnamed(self, report: Report, listener: Listener, route: Route) -> Report:
        """Of a route whose targets depend on the name: whether its resolver says anything."""
        report = attrs.evolve(report, unchecked="depends on the name")
        if route.resolver.kind == "static":
            return report
        report = attrs.evolve(report, resolver=route.resolver.title)
        try:
            await self._asking.probe(listener, route)
        except NoAnswer as no:
            report = attrs.evolve(report, refused=str(no))
        return attrs.evolve(report, watches=self._asking.watches(route.resolver))

    async def _goal(
        self, name: str | None, listener: Listener, target: Target, terminator: Terminator | None, wish: Wish
    ) -> TargetReport:
        denied = self._veto(target, None)
        addresses: dict[str, str | None] = {}
        unresolved = ""
        if denied is None:
            try:
                found = await self._addresses(target)
                addresses = {address: self._veto(target, address) for address in found}
            except LookupFailed as error:
                unresolved = str(error)
        goal = TargetReport(str(target), target.weight, denied, addresses, place=place(target), unresolved=unresolved)
        if not wish.connect or not goal.allowed:
            return goal
        wanted = () if name is None else (name,)
        shared = () if name is None else shared_names(await self._leading.led(listener), name, goal.place)
        asked = tuple(dict.fromkeys((*wanted, *shared, *wish.also)))
        return attrs.evolve(goal, dialled=await self._dial(name, target, terminator, asked))

    async def _addresses(self, target: Target) -> Sequence[str]:
        """@raise LookupFailed: there are none."""
        if target.addresses or ip_literal(target.host) is not None:
            return target.addresses or [target.host]
        lookups, seconds = self._dialer.lookups, self._configuration.timeouts.connect
        looking = lookups.formed(target.host, None) if target.client_formed else lookups.addresses(target.host)
        try:
            return await looking.addTimeout(seconds, self._reactor)
        except DeferredTimeout as error:
            raise LookupFailed(Cause.NO_ANSWER, no_answer(seconds)) from error

    async def _dial(
        self, name: str | None, target: Target, terminator: Terminator | None, asked: Sequence[str]
    ) -> Dialled:
        seconds, began = self._configuration.timeouts.connect, self._reactor.seconds()
        try:
            plain = await self._dialer.dial([target], seconds, lambda target: None)
        except DialError as error:
            return Dialled(error=str(error).removeprefix(f"{target}: "))
        took = self._reactor.seconds() - began
        host, port = plain.getpeername()[:2]
        done = Dialled(host_port(host, port), took)
        verified = terminator is not None and name is not None
        tls = terminator.broker().connection(name) if terminator and name else unverified(name)
        sock = TLSSocket(plain, tls)
        try:
            if verified:
                await to_broker(self._reactor, sock, name or "", seconds)
            else:
                await Handshake(self._reactor, sock, seconds).shaken()
        except (HandshakeError, Refusal) as error:
            why = str(error) if verified else f"the TLS handshake failed: {bounded(str(error))}"
            return attrs.evolve(done, error=why)
        finally:
            self._closer(sock)
        return attrs.evolve(done, tls=tls.get_protocol_version_name(), certificate=self._shown(tls, asked))

    def _shown(self, tls: SSL.Connection, asked: Sequence[str]) -> ShownCertificate | None:
        found = tls.get_peer_certificate()
        if found is None:
            return None
        certificate = found.to_cryptography()
        own = tuple(bounded(name) for name in names(certificate))
        expires = certificate.not_valid_after_utc
        days = (expires - self._now()).total_seconds() / 86_400
        good = {name: any(covers(pattern, name) for pattern in own) for name in asked}
        return ShownCertificate(own, expires.date().isoformat(), round(days, 2), good)

    def _veto(self, target: Target, address: str | None) -> str | None:
        loop = None if address is None else self._guard.denies(address, target.port)
        return loop or self._configuration.policy.refuses(target, address)


def _formed(route: Route) -> bool:
    """Whether a route without a name of its own cannot be asked: a resolver wants the name, and so do places."""
    if route.server_name in (NO_SERVER_NAME, PLAINTEXT):
        return False
    return route.resolver.kind != "static" or any(template.client_formed for template in templates(route))
