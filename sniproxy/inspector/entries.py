"""The ledger's entries for topics, namespaces and failures, and functions that merge entries. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import attrs
from attrs import Factory, define, frozen

from sniproxy.inspector.layouts import Layout, Segment
from sniproxy.pulsar.events import Event
from sniproxy.pulsar.topicname import topic_of_partition, topic_of_segment

MAX_MOVES = 20
"""Moves remembered for each topic."""

LOOKUP, PARTITIONED_METADATA = "lookup", "partitioned_metadata"
"""The steps of a lookup: clients ask for a topic's partitions before they look up the topic."""

_REQUESTS = {"LOOKUP": LOOKUP, "PARTITIONED_METADATA": PARTITIONED_METADATA}


def failed_step(event: Event) -> str | None:
    """The step of a lookup whose failure an event reports, by its own answer or by an ERROR. None: no failure."""
    match event.name:
        case "lookup" if event.fields["response"] == "failed":
            return LOOKUP
        case "partitions" if event.fields["status"] == "failed":
            return PARTITIONED_METADATA
        case "error":
            return _REQUESTS.get(str(event.fields["request"]))
    return None


@frozen
class Move:
    """A topic moved from one broker to another. ``source``: the event that showed it, such as ``lookup``."""

    time: float
    from_url: str | None
    from_url_tls: str | None
    to_url: str | None
    to_url_tls: str | None
    source: str


@frozen
class Failure:
    """A lookup that failed. ``error``: the ServerError's name; None: the broker gave none.

    ``cluster``: the cluster that was asked. ``step``: ``lookup``, or ``partitioned_metadata``, the request before it.
    """

    time: float
    connection: str
    topic: str | None
    error: str | None
    message: str | None
    cluster: str = ""
    step: str = LOOKUP


@define
class TopicEntry:
    """What the ledger knows about one topic. The ledger changes it later: read it at once, and do not change it.

    ``broker_url``, ``broker_url_tls``: the owner's URLs; None: not known. ``source``: the event that named the owner
    last: ``lookup``, ``redirect`` (a lookup's, to the broker that was picked), ``close``, ``migrated`` or
    ``scalable_topic`` (a layout's, for a segment that no lookup has named); empty: no owner is known.
    ``authoritative``, ``proxy_through_service_url``, ``latency_s``: from the last lookup; None: there was none, or its
    request was not seen. ``connection``: the connection of that event. ``service``: the server name of that connection;
    None: not known.

    Times are seconds since 1970: ``first_seen``, ``last_seen``, and ``since``, when this owner was first seen.
    ``lookups`` counts answers; ``redirects`` and ``failures`` among them named no owner. ``last_error``: the error of
    the last failure. ``unsettled``: the broker gave up the topic without naming the next owner. ``moves``: the last 20
    of ``moves_total``, oldest first.

    ``migrated``: the topic went to another cluster, whose URL is the owner's (PIP-188). ``layout``: of a scalable
    topic. ``segment``: of a topic that is a segment of one. ``leader_url``, ``leader_url_tls``: of a topic that assigns
    a transaction coordinator, the coordinator's leader (PIP-473). Neither a leader nor a controller owns the topic.

    ``cluster``: the cluster of the topic (`Clusters`). ``producers``, ``consumers``: those that are open now, on
    inspected connections that opened them after the topic's lookup.

    ``partitions``, ``segments``: for a folded topic, the number of its known ones, else 0. Counts of a folded topic are
    sums, and ``brokers`` lists the URLs of all owners (the TLS URL if there is one). Its other fields come from the
    partition or segment that was seen last.
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
    moves: deque[Move] = Factory(lambda: deque(maxlen=MAX_MOVES))
    moves_total: int = 0
    partitions: int = 0
    brokers: tuple[str, ...] = ()
    cluster: str = ""
    segments: int = 0
    migrated: bool = False
    layout: Layout | None = None
    segment: Segment | None = None
    leader_url: str | None = None
    leader_url_tls: str | None = None
    producers: int = 0
    consumers: int = 0

    @property
    def has_owner(self) -> bool:
        """Whether an owner is known."""
        return bool(self.broker_url or self.broker_url_tls)


@define
class NamespaceEntry:
    """Counts for a cluster's namespace since the ledger began. ``failures``: the failed ones among ``lookups``."""

    namespace: str
    lookups: int = 0
    failures: int = 0
    moves: int = 0
    last_seen: float = 0.0
    cluster: str = ""


@frozen
class LedgerSnapshot:
    """The contents of a ledger. The topics and namespaces seen last are at the end."""

    topics: list[TopicEntry]
    namespaces: list[NamespaceEntry]
    failures: list[Failure]


def merged(one: TopicEntry, other: TopicEntry) -> TopicEntry:
    """Merge two entries for a topic: the one seen last has the owner if it knows one, and counts are added up.

    A move that both entries have counts once: a topic cannot move to its present owner.
    """
    older, newer = sorted((one, other), key=lambda entry: entry.last_seen)
    moves: list[Move] = []
    for move in sorted([*older.moves, *newer.moves], key=lambda move: move.time):
        if not moves or _destination(moves[-1]) != _destination(move):
            moves.append(move)
    seen_twice = len(older.moves) + len(newer.moves) - len(moves)
    # A lookup's URL is one that clients dial; a layout's is that of the broker's internal listener.
    owner = max(newer, older, key=lambda entry: (entry.has_owner, entry.source != "scalable_topic"))
    leader = newer if newer.leader_url or newer.leader_url_tls else older
    both = attrs.evolve(
        newer,
        broker_url=owner.broker_url,
        broker_url_tls=owner.broker_url_tls,
        source=owner.source,
        migrated=owner.migrated,
        layout=newer.layout or older.layout,
        segment=newer.segment or older.segment,
        leader_url=leader.leader_url,
        leader_url_tls=leader.leader_url_tls,
        first_seen=min(older.first_seen, newer.first_seen),
        lookups=older.lookups + newer.lookups,
        redirects=older.redirects + newer.redirects,
        failures=older.failures + newer.failures,
        last_error=newer.last_error or older.last_error,
        moves_total=older.moves_total + newer.moves_total - seen_twice,
        producers=older.producers + newer.producers,
        consumers=older.consumers + newer.consumers,
    )
    both.moves = deque(moves, maxlen=MAX_MOVES)
    return both


def _destination(move: Move) -> str | None:
    return move.to_url_tls or move.to_url


def fold(entries: Iterable[TopicEntry]) -> list[TopicEntry]:
    """Fold entries: one entry for all partitions or segments of a topic in a cluster."""
    return [entry for entry in folding(entries) if entry is not None]


def folding(entries: Iterable[TopicEntry]) -> Iterator[TopicEntry | None]:
    """Like L{fold}, but an iterator: None for each entry taken, then the folded entries one by one."""
    folded: dict[tuple[str, str], list[TopicEntry]] = {}
    for entry in entries:
        topic = topic_of_partition(entry.topic) or topic_of_segment(entry.topic) or entry.topic
        folded.setdefault((entry.cluster, topic), []).append(entry)
        yield None
    for (_, topic), parts in folded.items():
        yield _fold(topic, parts)


def _fold(topic: str, entries: list[TopicEntry]) -> TopicEntry:
    """Make one entry for a topic and its partitions or segments."""
    if len(entries) == 1 and entries[0].topic == topic:
        return entries[0]
    last = max(entries, key=lambda entry: (entry.has_owner, entry.last_seen))
    others = sum(entry.topic != topic for entry in entries)
    segments = sum(topic_of_segment(entry.topic) is not None for entry in entries)
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
        last_seen=max(entry.last_seen for entry in entries),
        since=last.since,
        lookups=sum(entry.lookups for entry in entries),
        redirects=sum(entry.redirects for entry in entries),
        failures=sum(entry.failures for entry in entries),
        last_error=next((entry.last_error for entry in reversed(entries) if entry.last_error), None),
        # Brokers unload sealed segments, which get no new owner.
        unsettled=any(entry.unsettled and not (entry.segment and entry.segment.sealed) for entry in entries),
        moves=deque(moves, maxlen=MAX_MOVES),
        moves_total=sum(entry.moves_total for entry in entries),
        partitions=others - segments,
        segments=segments,
        layout=next((entry.layout for entry in entries if entry.topic == topic), None),
        cluster=last.cluster,
        producers=sum(entry.producers for entry in entries),
        consumers=sum(entry.consumers for entry in entries),
        brokers=tuple(sorted({url for entry in entries if (url := entry.broker_url_tls or entry.broker_url)})),
    )
