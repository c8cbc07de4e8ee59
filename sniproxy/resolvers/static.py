"""The static resolver: the targets that the configuration names, for every name that a route leads here.

A target may have places that a connection fills (L{sniproxy.routing.templates}).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import BadOption, IServerNameResolver, Kind, Option, Refused, Request, Resolution
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import Template, parse_template

OPTIONS = (Option("target", Kind.TEXTS, 'one target, "host:port", or a list of them'),)


@implementer(IServerNameResolver)
class StaticResolver:
    """Always gives the same targets, but for their places. What ``target = ...`` in a route means."""

    __slots__ = ("_same", "_templates")

    def __init__(self, targets: Sequence[str | Template]) -> None:
        """@param targets: as they are written, or read already. @raise BadTarget: a target cannot be read."""
        self._templates = [parse_template(each) if isinstance(each, str) else each for each in targets]
        self._same: Resolution | None = None  # made at the first question: there may be very many of us

    def resolve(self, request: Request) -> Resolution:
        if self._same is not None:
            return self._same
        plain = [template.target for template in self._templates if template.target is not None]
        if len(plain) == len(self._templates):
            self._same = Resolution(plain, ttl=None)
            return self._same
        try:
            return Resolution([template.fill(request) for template in self._templates], ttl=None)
        except BadTarget as error:
            raise Refused(f"no target comes of this name: {error}") from error


def make(options: Mapping[str, Any], reactor: Any) -> StaticResolver:
    """From ``target``: a text or a list of texts (see L{parse_template})."""
    for key in options:
        if key != "target":
            raise BadOption(key, options[key], "the static resolver has one key: target")
    value = options.get("target")
    targets = [value] if isinstance(value, str) else value
    if not isinstance(targets, list | tuple) or not targets or not all(isinstance(text, str) for text in targets):
        raise BadOption("target", value, 'write one target, "host:port", or a list of them')
    for text in targets:
        try:
            parse_template(text)
        except BadTarget as error:
            raise BadOption("target", text, str(error)) from error
    return StaticResolver(targets)
