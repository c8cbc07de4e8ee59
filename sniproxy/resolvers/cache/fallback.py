"""Several resolvers as one: asks them in order until one answers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, Refused, Request, Resolution, Unavailable
from sniproxy.resolvers.cache.cache import CachedResolver


@attrs.frozen
class FallbackAnswer:
    """An answer and its source.

    @ivar by: the name of the resolver that answered.
    @ivar passed: why each resolver before it gave no answer.
    """

    resolution: Resolution
    by: str
    passed: tuple[str, ...] = ()


@implementer(IServerNameResolver)
class FallbackResolver:
    """Asks resolvers in order. After a refusal or a failure it asks the next one.

    If none answers, the result is a refusal only if all resolvers refused. Otherwise it is L{Unavailable}, because the
    resolver that failed might know the name.
    """

    def __init__(self, resolvers: Sequence[CachedResolver]) -> None:
        self._resolvers = resolvers

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: all resolvers refused. @raise Unavailable: none answered, and at least one failed."""
        return (await self.first_answer(request)).resolution

    async def first_answer(self, request: Request) -> FallbackAnswer:
        """The same as L{resolve}, with the name of the resolver that answered."""
        reasons: list[str] = []
        failed = False
        for resolver in self._resolvers:
            try:
                return FallbackAnswer(await resolver.ask(request), resolver.name, tuple(reasons))
            except Refused as error:
                reasons.append(f"{resolver.name}: refused: {error.reason}")
            except Unavailable as error:
                failed = True
                reasons.append(f"{resolver.name}: {error}")
        why = "; ".join(reasons)
        raise Unavailable(why) if failed else Refused(why)
