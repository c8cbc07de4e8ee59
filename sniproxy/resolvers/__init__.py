"""Resolvers: one file each, found through ``twisted.plugin``, made from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from sniproxy.interfaces import BadOption, IResolverMaker, ResolverMaker, ServerNameResolver


@implementer(IPlugin, IResolverMaker)
@attrs.frozen
class LazyResolverMaker:
    """A maker that imports its resolver's code only when one is made, so that looking for plugins stays cheap.

    @ivar factory: the full name of a callable that takes what L{IResolverMaker.make} takes.
    """

    name: str
    help: str
    factory: str

    def make(self, options: Mapping[str, Any], reactor: Any) -> ServerNameResolver:
        resolver: ServerNameResolver = namedAny(self.factory)(options, reactor)
        return resolver


def makers() -> Iterator[ResolverMaker]:
    """All installed resolver types, in no order."""
    import twisted.plugins

    yield from getPlugins(IResolverMaker, twisted.plugins)


def make_resolver(kind: str, options: Mapping[str, Any], reactor: Any) -> ServerNameResolver:
    """The resolver that a configuration asks for.

    @raise BadOption: there is no such type, or an option does not fit.
    """
    known = {maker.name: maker for maker in makers()}
    if kind not in known:
        there_are = ", ".join(f"{name} ({known[name].help})" for name in sorted(known))
        raise BadOption("type", kind, f"no such resolver is installed; there are: {there_are}")
    return known[kind].make(options, reactor)
