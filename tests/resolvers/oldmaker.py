"""A maker of the first version of the plugin interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import (
    IResolverMaker,
    IServerNameResolver,
    Request,
    Resolution,
    Target,
)


@implementer(IServerNameResolver)
class ThirdPartyResolver:
    """A third party's resolver."""

    def __init__(self, options: Mapping[str, Any], reactor: Any) -> None:
        self.options, self.reactor = options, reactor

    def resolve(self, request: Request) -> Resolution:
        return Resolution([Target("custom.test", 1)])


@implementer(IResolverMaker)
class OldMaker:
    """A plugin that does not describe its options."""

    name, help = "old", "from before"

    def make(self, options: Mapping[str, Any], reactor: Any) -> ThirdPartyResolver:
        return ThirdPartyResolver(options, reactor)
