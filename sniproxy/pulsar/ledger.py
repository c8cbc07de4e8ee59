"""The ledger: which broker has which topic, as all that carries a broker's URL tells it, and how that changed.

A ledger is of one cluster: the same topic in two, as geo-replication has it, looks like one that moves to and fro.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from attrs import Factory, define, frozen

from sniproxy.pulsar.events import Event, Fields, Value

MOST_TOPICS = 10_000
"""Topics that are remembered; those that were not heard of for the longest time go first."""

MOST_NAMESPACES = 1000
"""Namespaces whose counts are remembered, likewise."""

MOST_MOVES = 20
"""Moves that are remembered of a topic."""

MOST_FAILURES = 200
"""Failed lookups that are remembered, of all topics."""

_PARTITION = re.compile(r"(.+)-partition-\d+", re.DOTALL)
_COORDINATORS = "persistent://pulsar/system/transaction_coordinator_assign-partition-{}"


@frozen
class Move:
    """A topic went from one broker to another. ``source``: the event that told, such as ``lookup``."""

    time: float
    from_url: str | None
    from_url_tls: str | None
    to_url: str | None
    to_url_tls: str | None
    source: str


@frozen
class Failure:
    """A lookup that failed. ``error``: the ServerError's name, None when the broker gave none."""

    time: float
    connection: str
    topic: str | None
    error: str | None
    message: str | None


@define
class TopicEntry:
    """What is known of one topic. It changes as the ledger learns: read it at once, and do not change it.

    ``broker_url``, ``broker_url_tls``: of its broker, None when never told. ``source``: the event that told so last:
    ``lookup``, ``redirect`` (a lookup's, to the broker that was picked), ``close``, ``migrated``, ``scalable_topic``
    or ``coordinators``. ``authoritative``, ``proxy_through_service_url``, ``latency_s``: of the last lookup, None
    when there was none (or its request was not seen). ``connection``: where that was heard; ``service``: the name that
    this connection was made to, None when not known.

    Times are seconds since 1970: ``first_seen``, ``last_seen``, and ``since``: how long it is known at this broker.
    ``lookups`` counts answers, of which ``redirects`` and ``failures`` gave no owner; ``last_error`` is of the last
    one that failed. ``unsettled``: the broker gave the topic away, and did not say to whom. ``moves``: the last 20 of
    ``moves_total``, oldest first.

    ``partitions``: of a folded topic, how many of its partitions are known, else 0. Then counts are sums, and the
    rest is of the partition heard of last; ``brokers`` lists the URLs (TLS where there is one) of all.
    """

    topic: str
    broker_url: str | None = None
    broker_url_tls: str | None = None
    source: str = ""
    authoritative: bool | None = None
    proxy_through_service_url: bool | None = None
    latency_s: float | None = None
    connection: str = ""
    service: str | None = None
    first_seen: float = 0.0
    last_seen: float = 0.0
    since: float = 0.0
    lookups: int = 0
    redirects: int = 0
    failures: int = 0
    last_error: str | None = None
    unsettled: bool = False
    moves: deque[Move] = Factory(lambda: deque(maxlen=MOST_MOVES))
    moves_total: int = 0
    partitions: int = 0
    brokers: tuple[str, ...] = ()


@define
class NamespaceEntry:
    """Counts of a namespace since the ledger began: its churn is ``moves``. ``failures``: of ``lookups``."""

    namespace: str
    lookups: int = 0
    failures: int = 0
    moves: int = 0
    last_seen: float = 0.0


class Ledger:
    """Learns from the events of any number of connections. It is bounded, whatever it is told."""

    def __init__(self, most: int = MOST_TOPICS) -> None:
        self._most = most
        self._topics: dict[str, TopicEntry] = {}
        self._namespaces: dict[str, NamespaceEntry] = {}
        self._failures: deque[Failure] = deque(maxlen=MOST_FAILURES)

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def failures(self) -> list[Failure]:
        """The last failed lookups, oldest first."""
        return list(self._failures)

    def topics(self, fold_partitions: bool = False) -> list[TopicEntry]:
        """All topics, those heard of last at the end; with ``fold_partitions``, one entry for all of a topic's."""
        return fold(self._topics.values()) if fold_partitions else list(self._topics.values())

    def namespaces(self) -> list[NamespaceEntry]:
        """Counts of each namespace, those heard of last at the end."""
        return list(self._namespaces.values())

    def learn(self, event: Event, service: str | None = None) -> list[Event]:
        """Take an event; returns the ledger's own: ``moved``.

        ``service``: the name that the event's connection was made to, if known.
        """
        fields, found = event.fields, []
        match event.name:
            case "lookup":
                return self._lookup(event, service)
            case "close" if fields["by"] == "broker":
                if fields["broker_url"] is None and fields["broker_url_tls"] is None:
                    entry = self._topics.get(str(fields["topic"]))
                    if entry is not None:
                        entry.unsettled = True
                    return []
                found = [(fields["topic"], fields)]
            case "migrated":
                found = [(fields["topic"], fields)]
            case "scalable_topic" if fields["status"] == "success":
                found = _scalable(fields)
            case "coordinators":
                found = [(_COORDINATORS.format(at["tc_id"]), at) for at in _tables(fields["assignments"])]
        events = []
        for topic, urls in found:
            if isinstance(topic, str) and (urls["broker_url"] or urls["broker_url_tls"]):
                events += self._place(event, topic, urls, event.name, service)
        return events

    def _lookup(self, event: Event, service: str | None) -> list[Event]:
        fields, topic = event.fields, event.fields["topic"]
        failed = fields["response"] == "failed"
        if failed:
            name, error, message = (_text(fields[key]) for key in ("topic", "error", "message"))
            self._failures.append(Failure(event.time, event.connection, name, error, message))
        if not isinstance(topic, str):
            return []
        namespace = self._namespace(topic, event.time)
        namespace.lookups += 1
        namespace.failures += failed
        entry = self._topics.get(topic)
        events: list[Event] = []
        redirect = fields["response"] == "redirect"
        # A redirect without authority leads to whom to ask. One with it may lead to another cluster, which picks a
        # broker: it tells the broker only of a topic of which nothing better is known.
        picked = redirect and fields["authoritative"] and (entry is None or entry.source == "redirect")
        if picked or not (failed or redirect):
            events = self._place(event, topic, fields, "redirect" if redirect else "lookup", service)
            entry = self._topics[topic]
            latency = fields["latency_s"]
            entry.latency_s = latency if isinstance(latency, int | float) else None
            entry.authoritative = bool(fields["authoritative"])
            entry.proxy_through_service_url = bool(fields["proxy_through_service_url"])
        if entry is not None:
            entry.lookups += 1
            entry.redirects += redirect
            entry.failures += failed
            entry.last_seen = event.time
            if failed:
                entry.last_error = _text(fields["error"])
        return events

    def _place(self, event: Event, topic: str, urls: Fields, source: str, service: str | None) -> list[Event]:
        """A topic is at the broker with these URLs."""
        plain, tls = _text(urls["broker_url"]), _text(urls["broker_url_tls"])
        entry = self._topics.pop(topic, None)
        events = []
        if entry is None:
            entry = TopicEntry(topic, first_seen=event.time, since=event.time)
            if len(self._topics) >= self._most:
                del self._topics[next(iter(self._topics))]
        elif _differ(entry.broker_url, plain) or _differ(entry.broker_url_tls, tls):
            move = Move(event.time, entry.broker_url, entry.broker_url_tls, plain, tls, source)
            entry.moves.append(move)
            entry.moves_total += 1
            entry.since = event.time
            self._namespace(topic, event.time).moves += 1
            fields: Fields = {
                "topic": topic,
                "from_url": move.from_url,
                "from_url_tls": move.from_url_tls,
                "to_url": plain,
                "to_url_tls": tls,
                "source": source,
            }
            events.append(Event("moved", event.time, event.connection, fields))
        self._topics[topic] = entry
        entry.broker_url, entry.broker_url_tls, entry.source = plain, tls, source
        entry.connection, entry.service, entry.last_seen = event.connection, service, event.time
        entry.unsettled = False
        return events

    def _namespace(self, topic: str, time: float) -> NamespaceEntry:
        name = namespace_of(topic)
        entry = self._namespaces.pop(name, None) or NamespaceEntry(name)
        if len(self._namespaces) >= MOST_NAMESPACES:
            del self._namespaces[next(iter(self._namespaces))]
        self._namespaces[name] = entry
        entry.last_seen = time
        return entry


def namespace_of(topic: str) -> str:
    """The namespace of a topic: ``public/default`` of ``persistent://public/default/orders`` and of ``orders``."""
    return topic.rpartition("://")[2].rpartition("/")[0] or "public/default"


def _differ(before: str | None, after: str | None) -> bool:
    """Whether these are two brokers. A URL that one side did not name tells nothing."""
    return bool(before) and bool(after) and before != after


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _tables(value: Value) -> list[Fields]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _scalable(fields: Fields) -> list[tuple[Value, Fields]]:
    """A scalable topic is at its controller; each segment is at a broker of its own."""
    topic = fields["resolved_topic"] or fields["topic"]
    urls = {"broker_url": fields["controller_broker_url"], "broker_url_tls": fields["controller_broker_url_tls"]}
    segments = _tables(fields["segments"])
    return [(topic, urls), *((at["topic"] or f"{topic}#{at['segment_id']}", at) for at in segments)]


def fold(entries: Iterable[TopicEntry]) -> list[TopicEntry]:
    """One entry for all partitions of a topic."""
    folded: dict[str, list[TopicEntry]] = {}
    for entry in entries:
        match = _PARTITION.fullmatch(entry.topic)
        folded.setdefault(match[1] if match else entry.topic, []).append(entry)
    return [_fold(topic, partitions) for topic, partitions in folded.items()]


def _fold(topic: str, entries: list[TopicEntry]) -> TopicEntry:
    """One entry for a topic and its partitions."""
    if len(entries) == 1 and entries[0].topic == topic:
        return entries[0]
    last = max(entries, key=lambda entry: entry.last_seen)
    moves = sorted((move for entry in entries for move in entry.moves), key=lambda move: move.time)
    return TopicEntry(
        topic,
        last.broker_url,
        last.broker_url_tls,
        last.source,
        last.authoritative,
        last.proxy_through_service_url,
        last.latency_s,
        last.connection,
        last.service,
        first_seen=min(entry.first_seen for entry in entries),
        last_seen=last.last_seen,
        since=last.since,
        lookups=sum(entry.lookups for entry in entries),
        redirects=sum(entry.redirects for entry in entries),
        failures=sum(entry.failures for entry in entries),
        last_error=next((entry.last_error for entry in reversed(entries) if entry.last_error), None),
        unsettled=any(entry.unsettled for entry in entries),
        moves=deque(moves, maxlen=MOST_MOVES),
        moves_total=sum(entry.moves_total for entry in entries),
        partitions=sum(entry.topic != topic for entry in entries),
        brokers=tuple(sorted({url for entry in entries if (url := entry.broker_url_tls or entry.broker_url)})),
    )
