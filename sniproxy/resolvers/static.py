"""The C{static} resolver: answers with the targets of the configuration, for every name. Pure.

A target may have placeholders, which are filled for each connection (L{sniproxy.routing.templates}).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import BadOption, IServerNameResolver, Kind, Option, Refused, Request, Resolution
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import Template, parse_template

OPTIONS = (Option("target", Kind.TEXTS, '"host:port", "host:port weight=2", or a list of them'),)


@implementer(IServerNameResolver)
class StaticResolver:
    """Answers with fixed targets. ``target = ...`` in a route makes one."""

    __slots__ = ("_fixed", "_templates")

    def __init__(self, targets: Sequence[str | Template]) -> None:
        """@param targets: texts or parsed templates. @raise BadTarget: a text is not a target."""
        self._templates = [parse_template(each) if isinstance(each, str) else each for each in targets]
        self._fixed: Resolution | None = None

    def fixed(self) -> Resolution | None:
        """The answer to every request. None: a target has placeholders."""
        if self._fixed is None:  # made at first use: a configuration may have very many static resolvers
            plain = [template.target for template in self._templates if template.target is not None]
            if len(plain) == len(self._templates):
                self._fixed = Resolution(plain, ttl=None)
        return self._fixed

    def resolve(self, request: Request) -> Resolution:
        fixed = self.fixed()
        if fixed is not None:
            return fixed
        try:
            return Resolution([template.fill(request) for template in self._templates], ttl=None)
        except BadTarget as error:
            raise Refused(f"cannot form a target from this name: {error}") from error


def make(options: Mapping[str, Any], reactor: object) -> StaticResolver:
    """Make a resolver from ``target``, a text or a list of texts (see L{parse_template}).

    @raise BadOption: a target is missing or invalid, or another option is given.
    """
    for key in options:
        if key != "target":
            raise BadOption(key, options[key], "unknown option; the static resolver takes only target")
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
