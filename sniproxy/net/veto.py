"""Denies targets: the proxy's own listeners, which would be a loop, and client-formed ones that the policy denies."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

from sniproxy.interfaces import Target
from sniproxy.routing.policy import Policy

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class LoopGuard:
    """Knows the proxy's listening addresses and recognises them among resolved targets.

    @ivar ports: the ports of these addresses. Targets on other ports are never denied.
    @ivar changes: how often the addresses have changed. An answer of L{denies} may be kept until then, if it
        L{is_settled}.
    """

    def __init__(self, listeners: Iterable[tuple[str, int]] = ()) -> None:
        self.ports: set[int] = set()
        self.changes = 0
        self._listeners: list[tuple[IPAddress, int]] = []
        self.change(listeners)

    def change(self, listeners: Iterable[tuple[str, int]]) -> None:
        """The proxy listens on these addresses now, and on no others."""
        self.changes += 1
        self.ports.clear()
        self._listeners.clear()
        for host, port in listeners:
            self.add(host, port)

    def add(self, host: str, port: int) -> None:
        """@param host: an IP address; ``0.0.0.0`` or ``::`` for all."""
        self.changes += 1
        self.ports.add(port)
        self._listeners.append((_plain(host), port))

    def denies(self, host: str, port: int) -> str | None:
        """The reason to deny an address. None: it is allowed.

        @param host: a resolved IP address.
        @raise OSError: no descriptor is left for the check.
        """
        address = _plain(host)
        for own, own_port in self._listeners:
            if port != own_port:
                continue
            # Connecting to 0.0.0.0 or :: reaches this machine; listening there accepts on all its addresses.
            if address == own or ((own.is_unspecified or address.is_unspecified) and _is_local(address)):
                return "a listener of this proxy (loop)"
        return None

    def is_settled(self, host: str, port: int) -> bool:
        """Whether L{denies} does not depend on the addresses that this machine has at the moment.

        @param host: an IP address.
        """
        address = _plain(host)
        return not any(
            port == own_port and (own.is_unspecified or address.is_unspecified) for own, own_port in self._listeners
        )


class DestinationVeto:
    """What a dialer asks about each target, and about each address that the target is resolved to.

    @param guard: denies the proxy's own listeners, also those that a later configuration adds.
    @param policy: denies targets that clients formed. None: there is no policy.
    """

    def __init__(self, guard: LoopGuard, policy: Policy | None = None) -> None:
        self._guard = guard
        self._policy = policy

    def denies(self, target: Target, address: str | None) -> str | None:
        """Why this target may not be dialled, or None.

        @param address: a resolved IP address. None: the target's name has not been looked up.
        @raise OSError: no descriptor is left for the check.
        """
        loop = None if address is None else self._guard.denies(address, target.port)
        return loop or (None if self._policy is None else self._policy.refuses(target, address))


@lru_cache(maxsize=1024)
def _plain(host: str) -> IPAddress:
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(address: IPAddress) -> bool:
    """Whether the address belongs to this machine: the kernel then also sends from it."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return False
        raise
    with probe:  # connect only selects a route and sends nothing
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return _plain(probe.getsockname()[0].partition("%")[0]) == address
