"""The clients that a route is for: ``only_from``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import attrs

from sniproxy.events import Refusal, Result
from sniproxy.interfaces import BadValue
from sniproxy.routing.policy import Network, network
from sniproxy.tls.alerts import Alert
from sniproxy.util.names import plain_address

ENDPOINT_TLVS = ("aws_vpce_id", "azure_link_id", "gcp_psc_id")
"""The PROXY protocol's fields with the id of a cloud provider's private endpoint."""

_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,}")
_ENDPOINT_ID = re.compile(r"vpce-[0-9a-f]+|0|[1-9][0-9]{0,19}")
_MAX_ID = (1 << 64) - 1
_KEY = "only_from"
_MAX_REMEMBERED = 1024  # addresses


@attrs.frozen
class ClientList:
    """Networks, and ids of private endpoints."""

    networks: tuple[Network, ...]
    endpoints: frozenset[str]

    def allows(self, client: str, tlvs: Mapping[str, str]) -> bool:
        """Whether a client is listed. @param client: ``192.0.2.7:50123``; ``unix``, which is in no network.

        @param tlvs: of a believed PROXY protocol header.
        """
        if tlvs and any(tlvs.get(name) in self.endpoints for name in ENDPOINT_TLVS):
            return True
        address = _address(client.rpartition(":")[0])
        return address is not None and any(one.version == address.version and address in one for one in self.networks)

    def __str__(self) -> str:
        return ", ".join([*map(str, self.networks), *sorted(self.endpoints)])


@lru_cache(_MAX_REMEMBERED)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    """None: it is no IP address. Clients come again, and to parse an address takes longer than to look for it."""
    try:
        return plain_address(host)
    except ValueError:
        return None


def make_client_list(texts: Iterable[str] | None) -> ClientList | None:
    """Parse ``only_from``. @return: None: the route is for all clients. @raise BadValue: a text is wrong."""
    if texts is None:
        return None
    networks, endpoints = [], []
    for text in texts:
        if _ENDPOINT.fullmatch(text):
            endpoints.append(text)
        else:
            networks.append(network(text, _KEY))
    if not networks and not endpoints:
        raise BadValue(_KEY, [], "an empty list refuses all clients; remove the key to allow all")
    return ClientList(tuple(networks), frozenset(endpoints))


def is_endpoint_id(text: str) -> bool:
    """Whether a text has the form of an id in L{ENDPOINT_TLVS}: AWS's begins with C{vpce-}; Azure's has 32 bits, and
    Google's 64, in decimal.
    """
    return _ENDPOINT_ID.fullmatch(text) is not None and (not text.isdigit() or int(text) <= _MAX_ID)


def client_text(client: str, tlvs: Mapping[str, str]) -> str:
    """A client, with the ids of its private endpoint, for messages."""
    ids = "".join(f", {name} {tlvs[name]}" for name in ENDPOINT_TLVS if name in tlvs)
    return f"{client.rpartition(':')[0] or client}{ids}"


def check_client(clients: ClientList, route: str, client: str, tlvs: Mapping[str, str]) -> None:
    """@param route: its server name. @raise Refusal: the route is not for the client."""
    if not clients.allows(client, tlvs):
        why = f"client {client_text(client, tlvs)} is not in only_from of route {route}"
        raise Refusal(Result.DENIED, why, Alert.ACCESS_DENIED)
