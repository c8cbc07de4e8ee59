"""A Twisted client endpoint that resolves names with L{sniproxy.net.lookup} instead of Twisted's thread pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet._resolver import GAIResolver  # the one that every reactor begins with
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from sniproxy.net.getaddrinfo import LookupFailed, no_answer
from sniproxy.net.lookup import lookups_of
from sniproxy.net.overlapping import ATTEMPT_DELAY_S
from sniproxy.util.names import ip_literal
from sniproxy.util.reactor import IReactor


@implementer(IStreamClientEndpoint)
class HostEndpoint:
    """Connects to a host by TCP, by happy eyeballs (RFC 8305).

    A name resolver that the application has installed in the reactor (C{IReactorPluggableNameResolver}) takes
    precedence.

    @param host: a name, or an IP address without brackets.
    @param timeout: seconds for the lookup and each connection.
    """

    def __init__(self, reactor: IReactor, host: str, port: int, timeout: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect. @return: fires with the protocol that the factory built.

        Fails with C{DNSLookupError}, whose message gives the reason, or as Twisted's endpoints do. Cancelling closes
        the lookup and all sockets at once.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        reactor, timeout = self._reactor, self._timeout
        began = reactor.seconds()
        if ip_literal(self._host) is not None:
            reactor = cast(IReactor, _Known(reactor, [self._host]))
        elif isinstance(reactor.nameResolver, GAIResolver):
            looking = lookups_of(reactor).addresses(self._host)
            try:
                addresses = await looking.addTimeout(timeout, reactor)
            except LookupFailed as error:
                raise DNSLookupError(str(error)) from error
            except DeferredTimeout as error:
                raise DNSLookupError(no_answer(timeout)) from error
            timeout = max(timeout - (reactor.seconds() - began), 0.001)
            reactor = cast(IReactor, _Known(reactor, addresses))
        endpoint = HostnameEndpoint(reactor, self._host, self._port, timeout, attemptDelay=ATTEMPT_DELAY_S)
        return await endpoint.connect(factory)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Known:
    """A reactor for one C{HostnameEndpoint} that resolves every name to the given addresses."""

    def __init__(self, reactor: IReactor, addresses: Sequence[str]) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Not supported: the resolver is fixed."""
        raise NotImplementedError

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Return the addresses at once."""
        resolutionReceiver.resolutionBegan(self)
        for address in self._addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return self
