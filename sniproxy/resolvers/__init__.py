"""Resolvers: one file each, found through ``twisted.plugin``, made from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import attrs
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IDescribedResolverMaker,
    IResolverMaker,
    Option,
    ResolverMaker,
    ServerNameResolver,
)
from sniproxy.resolvers.options import checked


@implementer(IPlugin, IDescribedResolverMaker)
@attrs.frozen
class LazyResolverMaker:
    """A maker that imports its resolver's code only when one is made, so that looking for plugins stays cheap.

    @ivar factory: the full name of a callable that takes what L{IResolverMaker.make} takes.
    @ivar described: the full name of a sequence of L{Option}; empty: the resolver checks its table itself.
    @ivar extra: as in L{IDescribedResolverMaker}. @ivar needs: the same.
    """

    name: str
    help: str
    factory: str
    described: str = ""
    extra: str = ""
    needs: tuple[str, ...] = ()

    @property
    def options(self) -> Sequence[Option] | None:
        """What the resolver's table may have."""
        if not self.described:
            return None
        options: Sequence[Option] = namedAny(self.described)
        return options

    def make(self, options: Mapping[str, Any], reactor: Any) -> ServerNameResolver:
        resolver: ServerNameResolver = namedAny(self.factory)(options, reactor)
        return resolver


def makers() -> Iterator[ResolverMaker]:
    """All installed resolver types, in no order."""
    import twisted.plugins

    yield from getPlugins(IResolverMaker, twisted.plugins)


def options_of(maker: ResolverMaker) -> Sequence[Option] | None:
    """What a maker says that its table may have; None: it says nothing."""
    options: Sequence[Option] | None = getattr(maker, "options", None)
    return options


def missing(maker: ResolverMaker) -> str | None:
    """The command that installs what a maker needs and does not find; None: all is there."""
    if all(find_spec(name) is not None for name in getattr(maker, "needs", ())):
        return None
    return f"pip install '{getattr(maker, 'extra', '')}'"


def makers_by_name() -> dict[str, ResolverMaker]:
    """All installed resolver types. Looking for them takes milliseconds: who makes many looks once."""
    return {maker.name: maker for maker in makers()}


def make_resolver(
    kind: str,
    options: Mapping[str, Any],
    reactor: Any,
    folder: str = "",
    known: Mapping[str, ResolverMaker] | None = None,
) -> ServerNameResolver:
    """The resolver that a configuration asks for.

    @param folder: where paths among its options start from. @param known: the installed types. None: looks for them.
    @raise BadOption: there is no such type, an option does not fit, or something must be installed first.
    """
    if known is None:
        known = makers_by_name()
    if kind not in known:
        there_are = ", ".join(f"{name} ({known[name].help})" for name in sorted(known))
        raise BadOption("type", kind, f"no such resolver is installed; there are: {there_are}")
    maker = known[kind]
    command = missing(maker)
    if command is not None:
        raise BadOption("type", kind, f"it needs what is not installed: {command}")
    described = options_of(maker)
    return maker.make(options if described is None else checked(options, described, folder), reactor)
