"""The string form of `sniproxy.client.SniProxyEndpoint`, found through ``twisted.plugin``; imports it when used."""

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
    """Reads client endpoint strings with this prefix, for ``twisted.internet.endpoints.clientFromString``.

    @ivar factory: the full name of a callable that takes a reactor and the parts of the string.
    """

    prefix: str
    factory: str

    def parseStreamClient(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamClientEndpoint:
        """The endpoint of the string's parts; raises ValueError for what cannot be read."""
        make = namedAny(self.factory)
        try:
            inspect.signature(make).bind(reactor, *args, **kwargs)
        except TypeError as error:
            # More parts than there are, or one that is given twice.
            raise ValueError(f"{self.prefix}: a part too many, or twice; escape colons inside a part as \\:") from error
        endpoint: IStreamClientEndpoint = make(reactor, *args, **kwargs)
        return endpoint
