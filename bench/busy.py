"""Resolvers that keep Python busy, for the measured proxy. `install` copies this file to where the proxy finds plugins.

``bench-block`` blocks the reactor's thread for a second, as a bad plugin would; ``bench-collect`` runs the garbage
collector over all objects. Both then refuse the client.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, Refused, Request
from sniproxy.resolvers import LazyResolverMaker

BLOCKED_S = 1.0
"""Seconds that ``bench-block`` blocks."""

BLOCKS, COLLECTS = "block.busy.test", "collect.busy.test"
"""Server names that the routes in `TOML` lead to the two resolvers."""

TOML = f"""
[[route]]
server_name = "{BLOCKS}"
resolver = "block"
[[route]]
server_name = "{COLLECTS}"
resolver = "collect"
[resolver.block]
type = "bench-block"
[resolver.collect]
type = "bench-collect"
"""

_PLUGIN = "bench_busy"


@implementer(IServerNameResolver)
class BusyResolver:
    """Refuses each client after some work in the reactor's thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def resolve(self, request: Request) -> NoReturn:
        """Work, then raise `Refused`."""
        self._work()
        raise Refused("the bench wanted the work only", 0)


def make_blocking(options: Mapping[str, Any], reactor: object) -> BusyResolver:
    """Make ``bench-block``."""
    return BusyResolver(lambda: time.sleep(BLOCKED_S))


def make_collecting(options: Mapping[str, Any], reactor: object) -> BusyResolver:
    """Make ``bench-collect``."""
    return BusyResolver(gc.collect)


blocking = LazyResolverMaker("bench-block", "blocks for a second", f"twisted.plugins.{_PLUGIN}.make_blocking")
collecting = LazyResolverMaker("bench-collect", "collects garbage", f"twisted.plugins.{_PLUGIN}.make_collecting")


def install(folder: Path) -> None:
    """Make the resolvers known to a proxy that has ``folder`` on its path."""
    plugins = folder / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    shutil.copyfile(__file__, plugins / f"{_PLUGIN}.py")
