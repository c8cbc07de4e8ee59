"""Measures the CPU time to read a hello and to choose a route, in this process and without sockets."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.task import Clock
from zope.interface import implementer

from bench.targets import client_hello
from sniproxy.interfaces import IServerNameResolver, Request, Resolution, Target
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.routing.table import RouteTable
from sniproxy.tls.clienthello import ClientHelloReader

_NAME = "broker-{}.names.bench.test"
_UNKNOWN = "broker-x.names.bench.example"
_BELOW = "broker-1.wild.bench.test"


@frozen
class _Route:
    server_name: str
    listener: str | None = None


@implementer(IServerNameResolver)
class _Answer:
    def resolve(self, request: Request) -> Resolution:
        return Resolution((Target("127.0.0.1", 6651),), 1e9)


def costs(sizes: Sequence[int], calls: int) -> dict[str, float]:
    """Microseconds by figure, the lowest of five runs: route tables of each size, a hello, a cache."""
    found = {}
    for size in sizes:
        # With a wildcard, so that the lookup of an unknown name searches the wildcards too.
        table = RouteTable([*(_Route(_NAME.format(number)) for number in range(size)), _Route("*.wild.bench.test")])
        for kind, name in (("exact", _NAME.format(size // 2)), ("wildcard", _BELOW), ("none", _UNKNOWN)):
            assert (table.match(name, "clients") is None) is (kind == "none")
            found[f"{size:,} names: {kind}, µs"] = _least(lambda: table.match(name, "clients"), calls)  # noqa: B023
    hello = client_hello("first.bench.test")
    found["reading: hello, µs"] = _least(lambda: ClientHelloReader().feed(hello), max(1, calls // 10))
    asked = CachedResolver("bench", _Answer(), Clock())
    request = Request("first.bench.test", (), "192.0.2.7:50123", "clients")
    asked.resolve(request)
    found["cache: hit, µs"] = _least(lambda: asked.resolve(request), calls)
    assert asked.counts.questions == 1
    return found


def _least(work: Callable[[], object], calls: int) -> float:
    return 1e6 * min(timeit.repeat(work, number=calls, repeat=5)) / calls
