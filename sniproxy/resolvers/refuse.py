"""The C{refuse} resolver: no name has a target. For names that a wildcard or C{[default]} must not get. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import attrs
from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, Kind, Option, Refused, Request

DEFAULT_REASON = "the configuration refuses this name"

OPTIONS = (Option("reason", Kind.TEXT, "reason in the access log", DEFAULT_REASON),)


@implementer(IServerNameResolver)
@attrs.frozen
class RefusingResolver:
    """Refuses every name. @ivar reason: for the access log."""

    reason: str

    def resolve(self, request: Request) -> NoReturn:
        raise Refused(self.reason)


def make(options: Mapping[str, Any], reactor: object) -> RefusingResolver:
    """Make a resolver. @param options: checked against L{OPTIONS}."""
    return RefusingResolver(options["reason"])
