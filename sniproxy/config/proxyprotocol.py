"""Checks the keys of the PROXY protocol: ``proxy_protocol``, ``proxy_protocol_from``, ``send_proxy``, ``proxy_tlvs``;
and ``target_source``. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

import msgspec

from sniproxy.interfaces import BadValue
from sniproxy.net.endpoints import Endpoint
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.proxyprotocol.writer import TLV_TYPES
from sniproxy.routing.policy import Network, network
from sniproxy.util.names import plain_address

if TYPE_CHECKING:
    from sniproxy.config.schema import BridgeTable, DefaultTable, ListenerTable, RouteEntry

REQUIRED, OPTIONAL = "required", "optional"
_KEY, _FROM = "proxy_protocol", "proxy_protocol_from"
CLIENT = "client"
_MAX_REMEMBERED = 1024
_VERSIONS = {"v1": 1, "v2": 2}


class AcceptProxy(msgspec.Struct, frozen=True, dict=True):
    """How a listener treats PROXY protocol headers.

    @ivar required: a connection without a header is refused.
    @ivar networks: the peers whose headers are believed. Empty: all, for a listener that only this host can reach.
    """

    required: bool
    networks: tuple[Network, ...]

    @property
    def mode(self) -> str:
        """As written in the configuration."""
        return REQUIRED if self.required else OPTIONAL

    def believes(self, client: str) -> bool:
        """Whether the header of a peer is believed. @param client: ``192.0.2.7:50123``, or ``unix``."""
        return not self.networks or self._lists(client.rpartition(":")[0])

    @cached_property
    def _lists(self) -> Callable[[str], bool]:
        # A cache of its own, because the hash of networks, as a part of the key, takes longer than the rest.
        return lru_cache(_MAX_REMEMBERED)(partial(_is_in, networks=self.networks))


def _is_in(host: str, networks: tuple[Network, ...]) -> bool:
    """@param host: an IP address, with or without brackets. Empty: a client of a unix socket."""
    if not host:
        return True
    address = plain_address(host)
    return any(one.version == address.version and address in one for one in networks)


def make_proxy_protocol(table: ListenerTable, endpoint: Endpoint) -> AcceptProxy | None:
    """@return: None: the listener reads no headers. @raise BadValue: a value is wrong."""
    if table.proxy_protocol is None:
        if table.proxy_protocol_from:
            raise BadValue(_FROM, table.proxy_protocol_from, f'it requires {_KEY}; write {_KEY} = "required"')
        return None
    if table.proxy_protocol not in (REQUIRED, OPTIONAL):
        raise BadValue(_KEY, table.proxy_protocol, 'write "required" or "optional", or remove the key')
    networks = tuple(network(text, _FROM) for text in table.proxy_protocol_from)
    if not networks and not _is_local(endpoint):
        cure = (
            f"missing; a header can claim any client, so list the load balancers whose headers are believed, as in "
            f'{_FROM} = ["10.0.0.0/8"]'
        )
        raise BadValue(_FROM, None, cure)
    return AcceptProxy(table.proxy_protocol == REQUIRED, networks)


def make_send_proxy(table: RouteEntry | DefaultTable | ListenerTable | BridgeTable) -> SendProxy | None:
    """@return: None: targets get no header. @raise BadValue: a value is wrong."""
    tlvs = table.proxy_tlvs
    if table.send_proxy not in (None, *_VERSIONS):
        raise BadValue("send_proxy", table.send_proxy, 'write "v2" or "v1", or remove the key')
    if tlvs and table.send_proxy != "v2":
        raise BadValue("proxy_tlvs", tlvs, 'only version 2 has these fields; write send_proxy = "v2"')
    for name in tlvs or ():
        if name not in TLV_TYPES:
            raise BadValue("proxy_tlvs", name, f"the fields are {', '.join(TLV_TYPES)}")
    return None if table.send_proxy is None else SendProxy(_VERSIONS[table.send_proxy], tuple(tlvs or ()))


def is_from_client(value: str | None) -> bool:
    """Whether targets are dialled from the client's address. @param value: of C{target_source}. None: it is absent.

    @raise BadValue: it is wrong.
    """
    if value not in (None, CLIENT):
        raise BadValue("target_source", value, 'write "client", or remove the key for the proxy\'s own address')
    return value is not None


def _is_local(endpoint: Endpoint) -> bool:
    """Whether only this host can reach a listener."""
    if endpoint.host is None:
        return endpoint.kind == "unix"
    try:
        return ipaddress.ip_address(endpoint.host).is_loopback
    except ValueError:
        return endpoint.host == "localhost"
