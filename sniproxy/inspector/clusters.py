"""Tells which places lead to the same cluster: those where brokers name the same broker. Pure.

A place is the destination of a connection, such as a server name or ``host:port``. Neither the configuration nor any
command says which places belong to one cluster, so this module infers it from the brokers named at each place.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from sniproxy.pulsar.events import Fields
from sniproxy.util.names import host_port, ip_literal

MAX_PLACES = 10_000
"""Places and brokers that are remembered; beyond it, the oldest are dropped."""


class Clusters:
    """Groups places and brokers into clusters. A cluster has the name of its first place.

    A broker is identified by the host name of its TLS URL, and by host and port of other URLs. So a broker is also the
    place of connections that are made to its URL.
    """

    def __init__(self) -> None:
        self._cluster_of: dict[str, str] = {}
        self._brokers: set[str] = set()
        self._expected: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """Number of remembered places and brokers."""
        return len(self._cluster_of)

    def cluster_at(self, place: str) -> str:
        """The cluster of a place. An unknown place becomes a new cluster."""
        return self._cluster_of.get(place) or self.assign(place, place)

    def is_known(self, place: str) -> bool:
        """Whether the cluster of this place is known."""
        return place in self._cluster_of

    def assign(self, place: str, cluster: str) -> str:
        """Assign a place to a cluster. Returns the cluster."""
        if place not in self._cluster_of and len(self._cluster_of) >= MAX_PLACES:
            oldest = next(iter(self._cluster_of))
            del self._cluster_of[oldest]
            self._brokers.discard(oldest)
        self._cluster_of[place] = cluster
        return cluster

    def names(self) -> set[str]:
        """The names of all clusters."""
        return set(self._cluster_of.values())

    def add_broker(self, cluster: str, urls: Fields, redirect: bool = False) -> tuple[str, set[str]]:
        """Note that a broker with these URLs was named in a cluster.

        Returns the cluster's name from now on, and the names of the clusters that were merged into it. ``redirect``: an
        authoritative redirect named the broker. It may lead to another cluster, even to that one's service URL, so it
        counts only once an answer places a topic at this broker.
        """
        brokers = brokers_of(urls)
        if redirect:
            for broker in brokers - self._brokers:
                if broker in self._expected or len(self._expected) < MAX_PLACES:
                    self._expected.setdefault(broker, set()).add(cluster)
            brokers &= self._brokers
        found = {cluster}
        for broker in brokers:
            found |= {self._cluster_of.get(broker, cluster)} | self._expected.pop(broker, set())
            self._brokers.add(broker)
            self.assign(broker, cluster)
        return (cluster, set()) if len(found) == 1 else self._join(found)

    def _join(self, found: set[str]) -> tuple[str, set[str]]:
        kept = next(name for name in self._cluster_of.values() if name in found)
        for place, cluster in self._cluster_of.items():
            if cluster in found:
                self._cluster_of[place] = kept
        self._expected = {
            broker: {kept if cluster in found else cluster for cluster in clusters}
            for broker, clusters in self._expected.items()
        }
        return kept, found - {kept}


def brokers_of(urls: Fields) -> set[str]:
    """The identities of the broker with these URLs, ``broker_url`` and ``broker_url_tls``; either may be None."""
    found = (_broker(url) for url in (urls["broker_url"], urls["broker_url_tls"]) if isinstance(url, str))
    return {broker for broker in found if broker is not None}


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Whether the host of this URL is a loopback address or ``localhost``: all brokers may have this one."""
    try:
        host = urlsplit(url).hostname or ""
        address = ip_literal(host)
        return host == "localhost" if address is None else ip_address(address).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _broker(url: str) -> str | None:
    """The identity of a broker by one URL. None: the peer sent an invalid URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    by_name = parts.scheme == "pulsar+ssl" and ip_literal(host) is None
    return host if by_name else host_port(host, port or 0)
