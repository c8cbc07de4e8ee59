"""Which cluster answers at a place: places whose brokers name the same broker are of one cluster. Pure.

A place is where a connection was made to, such as a server name or ``host:port``. Nobody writes down which places are
of one cluster, and no command says it, so it is told by the brokers that are named there.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from sniproxy.pulsar.events import Fields
from sniproxy.util.names import host_port, ip_literal

MAX_PLACES = 10_000
"""Places and brokers that are remembered; more push out the oldest."""


class Clusters:
    """Puts places and brokers together. A cluster has the name of its first place.

    A broker is known by the host name of its TLS URL, and by host and port of every other URL: so it is a place, too,
    where a connection to it is made by what its URL says.
    """

    def __init__(self) -> None:
        self._cluster_of: dict[str, str] = {}
        self._brokers: set[str] = set()
        self._expected: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """Places and brokers that are remembered."""
        return len(self._cluster_of)

    def at(self, place: str) -> str:
        """The cluster at a place; where nothing is known of it, one of its own."""
        return self._cluster_of.get(place) or self.put(place, place)

    def knows(self, place: str) -> bool:
        """Whether the cluster at this place is known."""
        return place in self._cluster_of

    def put(self, place: str, cluster: str) -> str:
        """This place is this cluster's; returns the cluster."""
        if place not in self._cluster_of and len(self._cluster_of) >= MAX_PLACES:
            oldest = next(iter(self._cluster_of))
            del self._cluster_of[oldest]
            self._brokers.discard(oldest)
        self._cluster_of[place] = cluster
        return cluster

    def names(self) -> set[str]:
        """The names of all clusters."""
        return set(self._cluster_of.values())

    def named(self, cluster: str, urls: Fields, redirect: bool = False) -> tuple[str, set[str]]:
        """A broker with these URLs was named in a cluster; returns its name from now on, and those that it had apart.

        ``redirect``: by a redirect with authority. That can lead to another cluster, to its service URL, too: it tells
        nothing before somebody says that a topic is at this broker.
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
            self.put(broker, cluster)
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
    """How the broker is known that has these URLs, ``broker_url`` and ``broker_url_tls``; either may be None."""
    found = (_broker(url) for url in (urls["broker_url"], urls["broker_url_tls"]) if isinstance(url, str))
    return {broker for broker in found if broker is not None}


@lru_cache(maxsize=1024)
def _broker(url: str) -> str | None:
    """The same by one URL; None: a peer may write anything."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    by_name = parts.scheme == "pulsar+ssl" and ip_literal(host) is None
    return host if by_name else host_port(host, port or 0)
