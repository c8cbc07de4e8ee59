"""A cache around a scripted resolver."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import (
    Resolution,
    Unavailable,
)
from sniproxy.resolvers.cache.cache import CachedResolver
from tests.resolvers.cache.scripted import request


class CacheCase(SynchronousTestCase):
    """A cache around a scripted resolver, with a fake clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[str] = []
        observer = cast(ILogObserver, self._log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _log(self, event: LogEvent) -> None:
        if event["log_namespace"] == "sniproxy.resolvers.cache.cache":
            self.logged.append(event["log_format"].format(**{**event, "why": str(event.get("why"))}))

    def make(self, resolver: Any, **options: Any) -> CachedResolver:
        self.asked = CachedResolver("brokers", resolver, self.clock, **options)
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))
        self.addCleanup(self.asked.stop)
        return self.asked

    def ask(self, name: str = "a.test", **more: Any) -> Deferred[Resolution]:
        return Deferred.fromCoroutine(self.asked.ask(request(name, **more)))

    def answered(self, *hosts: str) -> None:
        """Assert that these hosts are the next answers, each without a delay."""
        for host in hosts:
            self.assertEqual(host, self.successResultOf(self.ask()).targets[0].host)

    def unavailable(self, later: Deferred[Resolution]) -> str:
        return str(self.failureResultOf(later, Unavailable).value)
