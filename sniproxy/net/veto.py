"""Our own listeners are never a target: a connection that came back to us would come back for ever."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class LoopGuard:
    """Knows the proxy's listening addresses and recognises them among resolved targets.

    @ivar ports: the ports of these addresses. Targets on other ports are never denied.
    """

    def __init__(self, listeners: Iterable[tuple[str, int]] = ()) -> None:
        self.ports: set[int] = set()
        self._listeners: list[tuple[IPAddress, int]] = []
        for host, port in listeners:
            self.add(host, port)

    def add(self, host: str, port: int) -> None:
        """@param host: an IP address; ``0.0.0.0`` or ``::`` for all."""
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
