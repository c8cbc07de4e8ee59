"""Several resolvers, asked in order, as one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, Refused, Request, Resolution, Unavailable
from sniproxy.resolvers.cache.cache import CachedResolver


@attrs.frozen
class Answered:
    """An answer.

    @ivar by: the name of the resolver that gave it. @ivar passed: why those before it did not, a sentence each.
    """

    resolution: Resolution
    by: str
    passed: tuple[str, ...] = ()


@implementer(IServerNameResolver)
class FallbackResolver:
    """Asks one after the other until one answers.

    A refusal and a failure both go on to the next one. When none answers, the name goes nowhere only if all have
    refused it; else one that failed might have known it, so it is L{Unavailable}.
    """

    def __init__(self, resolvers: Sequence[CachedResolver]) -> None:
        self._resolvers = resolvers

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: all have refused. @raise Unavailable: none has answered, and one at least has failed."""
        return (await self.first(request)).resolution

    async def first(self, request: Request) -> Answered:
        """L{resolve}, for who wants to know which one answered."""
        reasons: list[str] = []
        failed = False
        for resolver in self._resolvers:
            try:
                return Answered(await resolver.ask(request), resolver.name, tuple(reasons))
            except Refused as error:
                reasons.append(f"{resolver.name}: refused: {error.reason}")
            except Unavailable as error:
                failed = True
                reasons.append(f"{resolver.name}: {error}")
        why = "; ".join(reasons)
        raise Unavailable(why) if failed else Refused(why)
