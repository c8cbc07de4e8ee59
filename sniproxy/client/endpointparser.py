"""Parses the string form of `sniproxy.client.SniProxyEndpoint`. A ``twisted.plugin`` that imports it on use."""

from __future__ import annotations

import inspect

import attrs
from twisted.internet.interfaces import (
    IReactorCore,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
)
from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
@attrs.frozen
class LazyEndpointParser:
    """Parses endpoint strings with this prefix, for ``twisted.internet.endpoints.clientFromString``.

    @ivar factory: the full name of a callable that takes a reactor and the parts of the string.
    """

    prefix: str
    factory: str

    def parseStreamClient(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamClientEndpoint:
        """Create the endpoint from the parts of a string. @raise ValueError: a part is invalid."""
        make = namedAny(self.factory)
        try:
            inspect.signature(make).bind(reactor, *args, **kwargs)
        except TypeError as error:
            # Too many parts, or a duplicate.
            raise ValueError(
                f"{self.prefix}: too many parts or a duplicate; escape colons inside a part as \\:"
            ) from error
        endpoint: IStreamClientEndpoint = make(reactor, *args, **kwargs)
        return endpoint
