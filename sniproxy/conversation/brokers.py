"""Which of the recorded brokers the URLs in answers lead to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sniproxy.conversation.comparison import translate
from sniproxy.conversation.entry import number_of
from sniproxy.conversation.mapping import Mapping
from sniproxy.conversation.textform import Conversation
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.names import host_port

_Base = pb.BaseCommand

WITH_URLS = frozenset(
    {
        _Base.LOOKUP_RESPONSE,
        _Base.CLOSE_PRODUCER,
        _Base.CLOSE_CONSUMER,
        _Base.TOPIC_MIGRATED,
        _Base.SCALABLE_TOPIC_UPDATE,
        _Base.WATCH_TC_ASSIGNMENTS_UPDATE,
    }
)
"""The commands of a broker that may have URLs of brokers."""


def is_proxied(entry: dict[str, Any]) -> bool:
    """Whether a client stays with the address that it has dialled, and names the broker of the answer there."""
    return bool(entry.get("fields", {}).get("proxy_through_service_url"))


def address_of(url: str) -> str | None:
    """The first host of a broker's URL, and its port. None: it is no such URL."""
    try:
        return host_port(*parse_service_url(url).hosts[0])
    except BadServiceURL:
        return None


def brokers_by_address(played: Sequence[Conversation]) -> dict[str, str]:
    """The address of each URL in answers that leads to another broker than that of the first conversation.

    A recording has the names of URLs and, from a capture, only the IP addresses of connections. If as many addresses as
    names are left over, they belong to each other in their order; otherwise the names are left out.

    @return: by the address in a URL, L{Conversation.broker}.
    """
    brokers = list(dict.fromkeys(each.broker for each in played))
    addresses: dict[str, None] = {}

    def collect(url: str) -> str:
        address = address_of(url)
        if address is not None:
            addresses[address] = None
        return url

    for each in played:
        for line in each.lines:
            has_urls = line.side == "broker" and number_of(line.entry["command"]) in WITH_URLS
            if has_urls and not is_proxied(line.entry):
                translate(line.entry, Mapping(), collect)
    found = {address: address for address in addresses if address in brokers}
    names = [address for address in addresses if address not in found]
    left = [broker for broker in brokers[1:] if broker not in found]
    if len(names) == len(left):
        found.update(zip(names, left, strict=True))
    return {address: broker for address, broker in found.items() if broker != brokers[0]}
