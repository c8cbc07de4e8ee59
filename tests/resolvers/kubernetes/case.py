"""A test case with a Kubernetes API on loopback and resolvers that watch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sniproxy.interfaces import Resolution
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.kubernetes.resolver import KubernetesResolver
from tests.resolvers.cache.scripted import request
from tests.support.kubernetesapi import KubernetesServer
from tests.support.reactor import reactor

ROUNDS_S = 0.01
"""Seconds between two looks at a condition."""


class KubernetesCase(TestCase):
    """@ivar server: the API server. @ivar changes: the number of reported changes."""

    timeout = 30.0

    def setUp(self) -> None:
        self.server = KubernetesServer(self)
        self.changes = 0

    def resolver(self, **options: Any) -> KubernetesResolver:
        table = {"server": self.server.url, "namespace": "pulsar", **options}
        if "gateway" not in table:
            table = {"service": "broker", "name": "{pod}.test", "service_name": "vip.test", **table}
        resolver = make_resolver("kubernetes", table, reactor)
        assert isinstance(resolver, KubernetesResolver)
        return resolver

    def started(self, **options: Any) -> KubernetesResolver:
        """A resolver that watches until the test ends."""
        resolver = self.resolver(**options)

        def count() -> None:
            self.changes += 1

        resolver.start(count)
        self.addCleanup(resolver.stop)
        return resolver

    async def answer(self, resolver: KubernetesResolver, name: str | None) -> list[str]:
        """The targets of a name."""
        answer = resolver.resolve(request(name))
        found = answer if isinstance(answer, Resolution) else await answer
        return [str(target) for target in found.targets]

    async def fails(self, kind: type[Exception], resolver: KubernetesResolver, name: str | None) -> str:
        """The text of the error for a name."""
        try:
            targets = await self.answer(resolver, name)
        except kind as error:
            return str(error)
        raise AssertionError(f"{name} leads to {targets}")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition; the timeout of the test ends it."""
        while not condition():
            waited: Deferred[None] = deferLater(reactor, ROUNDS_S)
            await waited


def logged_texts(case: TestCase) -> list[str]:
    """The texts that are logged from now on, until the test ends."""
    texts: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    case.addCleanup(globalLogPublisher.removeObserver, observe)
    return texts
