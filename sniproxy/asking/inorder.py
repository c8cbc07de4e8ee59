"""Several resolvers, asked in order, as one."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from sniproxy.asking.asked import Asked
from sniproxy.interfaces import IServerNameResolver, Refused, Request, Resolution, Unavailable


@implementer(IServerNameResolver)
class InOrder:
    """Asks one after the other until one answers.

    A refusal and a failure both go on to the next one. When none answers, the name goes nowhere only if all have
    refused it; else one that failed might have known it, so it is L{Unavailable}.
    """

    def __init__(self, resolvers: Sequence[Asked]) -> None:
        self._resolvers = resolvers

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: all have refused. @raise Unavailable: none has answered, and one at least has failed."""
        reasons, failed = [], False
        for resolver in self._resolvers:
            try:
                return await resolver.ask(request)
            except Refused as error:
                reasons.append(f"{resolver.name}: refused: {error.reason}")
            except Unavailable as error:
                failed = True
                reasons.append(f"{resolver.name}: {error}")
        why = "; ".join(reasons)
        raise Unavailable(why) if failed else Refused(why)
