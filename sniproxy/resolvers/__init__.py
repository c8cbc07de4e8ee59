"""Resolver types: finds the installed ones through ``twisted.plugin`` and makes resolvers from the configuration.

The built-in types are C{static}, C{refuse}, C{file} (with C{namefile}, its file formats), and the folders C{dns},
C{http}, C{kubernetes}, C{pulsar} and C{zookeeper}. C{options} checks a resolver's table, C{describing} prints
C{--help-resolver}, and C{cache} is what the proxy adds to every resolver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, cast

import attrs
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IDescribedResolverMaker,
    IResolverMaker,
    IServerNameResolver,
    Option,
)
from sniproxy.resolvers.options import check_options
from sniproxy.util.reactor import IReactor


@implementer(IPlugin, IDescribedResolverMaker)
@attrs.frozen
class LazyResolverMaker:
    """A maker that imports its resolver's code when it makes one, so that plugin discovery stays cheap.

    @ivar name: the resolver's type in the configuration. @ivar help: one line of help.
    @ivar factory: the dotted name of a callable with the arguments of L{IResolverMaker.make}.
    @ivar described: the dotted name of a sequence of L{Option}. Empty: the resolver checks its table itself.
    @ivar extra: as in L{IDescribedResolverMaker}. @ivar needs: as in L{IDescribedResolverMaker}.
    """

    name: str
    help: str
    factory: str
    described: str = ""
    extra: str = ""
    needs: tuple[str, ...] = ()

    @property
    def options(self) -> Sequence[Option] | None:
        """The keys of the resolver's table. None: it describes none."""
        if not self.described:
            return None
        options: Sequence[Option] = namedAny(self.described)
        return options

    def make(self, options: Mapping[str, Any], reactor: object) -> IServerNameResolver:
        resolver: IServerNameResolver = namedAny(self.factory)(options, reactor)
        return resolver


def makers() -> Iterator[IResolverMaker]:
    """All installed resolver types, in no particular order."""
    import twisted.plugins

    yield from getPlugins(IResolverMaker, twisted.plugins)


def options_of(maker: IResolverMaker) -> Sequence[Option] | None:
    """The options that a maker describes. None: it describes none."""
    options: Sequence[Option] | None = getattr(maker, "options", None)
    return options


def missing(maker: IResolverMaker) -> str | None:
    """The command that installs the missing dependencies of a maker. None: none is missing."""
    if all(find_spec(name) is not None for name in getattr(maker, "needs", ())):
        return None
    return f"pip install '{getattr(maker, 'extra', '')}'"


def makers_by_name() -> dict[str, IResolverMaker]:
    """All installed resolver types by name. Finding them takes milliseconds, so callers should keep the result."""
    return {maker.name: maker for maker in makers()}


def make_resolver(
    kind: str,
    options: Mapping[str, Any],
    reactor: object,
    folder: str = "",
    known: Mapping[str, IResolverMaker] | None = None,
) -> IServerNameResolver:
    """Make the resolver that a configuration describes.

    @param reactor: of the type that the resolver needs; a clock is enough for some.
    @param folder: relative paths among its options start here.
    @param known: the installed types by name. None: find them now.
    @raise BadOption: the type is unknown, an option is invalid, or a dependency is not installed.
    """
    if known is None:
        known = makers_by_name()
    if kind not in known:
        installed = ", ".join(f"{name} ({known[name].help})" for name in sorted(known))
        raise BadOption("type", kind, f"unknown resolver type; installed: {installed}")
    maker = known[kind]
    command = missing(maker)
    if command is not None:
        raise BadOption("type", kind, f"a dependency is not installed; run {command}")
    described = options_of(maker)
    checked = options if described is None else check_options(options, described, folder)
    return maker.make(checked, cast(IReactor, reactor))
