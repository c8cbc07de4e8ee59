"""A resolver with scripted answers."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, Request


@implementer(IServerNameResolver)
class Scripted:
    """A resolver that returns or raises what the test sets."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def resolve(self, request: Request) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer() if callable(self.answer) else self.answer
