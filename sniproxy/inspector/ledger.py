"""The ledger: records from events which broker owns which topic, and which topics move. Pure.

The same topic in two clusters, as with geo-replication, is two entries. `Clusters` tells clusters apart.
"""

from __future__ import annotations

from collections import deque

import attrs

from sniproxy.inspector.attached import Attachments
from sniproxy.inspector.clusters import Clusters, is_loopback
from sniproxy.inspector.entries import (
    LOOKUP,
    Failure,
    LedgerSnapshot,
    Move,
    NamespaceEntry,
    TopicEntry,
    failed_step,
    fold,
    merged,
)
from sniproxy.inspector.layouts import next_layout, segment_of, splits_and_merges, tables
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.pulsar.topicname import namespace_of

MAX_TOPICS = 10_000
"""Topics in a ledger; beyond it, the ones seen longest ago are dropped."""

MAX_NAMESPACES = 1000
"""Namespaces in a ledger; beyond it, the ones seen longest ago are dropped."""

MAX_FAILURES = 200
"""Failed lookups in a ledger, of all topics; beyond it, the oldest are dropped."""

_COORDINATORS = "persistent://pulsar/system/transaction_coordinator_assign-partition-{}"


class Ledger:
    """Learns from the events of any number of connections. Its memory is bounded.

    ``max_topics``: topics in the ledger.
    """

    def __init__(self, max_topics: int = MAX_TOPICS) -> None:
        self._max_topics = max_topics
        self._clusters = Clusters()
        self._attached = Attachments()
        self._topics: dict[tuple[str, str], TopicEntry] = {}
        self._namespaces: dict[tuple[str, str], NamespaceEntry] = {}
        self._failures: deque[Failure] = deque(maxlen=MAX_FAILURES)

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def failures(self) -> list[Failure]:
        """The last failed lookups, oldest first."""
        return list(self._failures)

    def topics(self, fold_partitions: bool = False) -> list[TopicEntry]:
        """All topics, the last seen at the end. ``fold_partitions``: one entry for all partitions of a topic."""
        return fold(self._topics.values()) if fold_partitions else list(self._topics.values())

    def namespaces(self) -> list[NamespaceEntry]:
        """Counts for each cluster's namespaces, the last seen at the end."""
        return list(self._namespaces.values())

    def snapshot(self) -> LedgerSnapshot:
        """All topics, namespaces and failures."""
        return LedgerSnapshot(self.topics(), self.namespaces(), self.failures)

    def learn(self, event: Event, place: str = "", service: str | None = None) -> list[Event]:
        """Take an event. Returns the events that follow from it: ``moved``, ``split`` and ``merged``.

        ``place``: the destination of the event's connection, by which `Clusters` tells clusters apart. ``service``: the
        server name of the connection, if known.
        """
        fields, found = event.fields, []
        for at, topic, kind, change in self._attached.take(
            event, place, lambda name: self._at(place, name) is not None
        ):
            if (entry := self._at(at, topic)) is not None:
                setattr(entry, kind, max(0, getattr(entry, kind) + change))
        match event.name:
            case "lookup":
                return self._lookup(event, place, service)
            case "partitions" | "error":
                self._failed_step(event, place)
            case "close" if fields["by"] == "broker":
                topic = str(fields["topic"])
                self._assign_place(place, topic)
                if fields["broker_url"] is None and fields["broker_url_tls"] is None:
                    entry = self._topics.get((self._clusters.cluster_at(place), topic))
                    if entry is not None and not entry.migrated:
                        entry.unsettled = True
                    return []
                found = [(fields["topic"], fields)]
            case "migrated":
                self._assign_place(place, str(fields["topic"]))
                found = [(fields["topic"], fields)]
            case "producer" if fields["status"] == "ready":
                self._produced(place, fields["topic"])
            case "scalable_topic" if fields["status"] == "success":
                return self._scalable(event, place, service)
            case "coordinators":
                return self._coordinators(event, place)
        events = []
        for topic_found, urls in found:
            if isinstance(topic_found, str) and (urls["broker_url"] or urls["broker_url_tls"]):
                # A topic migrates to another cluster, so its new broker does not belong to this one.
                cluster, joined = self._clusters.cluster_at(place), list[Event]()
                if event.name != "migrated":
                    cluster, joined = self._add_broker(event, cluster, urls)
                events += [*joined, *self._set_owner(event, cluster, topic_found, urls, event.name, service)]
        return events

    def _at(self, place: str, topic: str) -> TopicEntry | None:
        """The entry of a topic in the cluster of a place, if both are known."""
        known = self._clusters.is_known(place)
        return self._topics.get((self._clusters.cluster_at(place), topic)) if known else None

    def _assign_place(self, place: str, topic: str) -> None:
        """Assign an unknown place to the only cluster that has a topic which its broker names."""
        if not self._clusters.is_known(place):
            having = [cluster for cluster in self._clusters.names() if (cluster, topic) in self._topics]
            if len(having) == 1:
                self._clusters.assign(place, having[0])

    def _failed_step(self, event: Event, place: str) -> None:
        """Count a lookup that failed without LOOKUP_RESPONSE: in its first step, or by an ERROR."""
        step = failed_step(event)
        if step is not None:
            cluster, topic = self._clusters.cluster_at(place), event.fields["topic"]
            self._add_failure(event, cluster, step)
            if isinstance(topic, str):
                self._count(event, cluster, topic, failed=True, redirect=False)

    def _add_failure(self, event: Event, cluster: str, step: str) -> None:
        topic, error, message = (_text(event.fields[key]) for key in ("topic", "error", "message"))
        self._failures.append(Failure(event.time, event.connection, topic, error, message, cluster, step))

    def _count(self, event: Event, cluster: str, topic: str, failed: bool, redirect: bool) -> None:
        """Count an answer in the namespace and in the topic's entry, if any."""
        namespace = self._namespace(cluster, namespace_of(topic), event.time)
        namespace.lookups += 1
        namespace.failures += failed
        entry = self._topics.get((cluster, topic))
        if entry is not None:
            entry.lookups += 1
            entry.redirects += redirect
            entry.failures += failed
            entry.last_seen = event.time
            if failed:
                entry.last_error = _text(event.fields["error"])

    def _lookup(self, event: Event, place: str, service: str | None) -> list[Event]:
        fields, topic = event.fields, event.fields["topic"]
        failed = fields["response"] == "failed"
        redirect = fields["response"] == "redirect"
        listener = fields.get("advertised_listener")
        # A broker has different URLs for each of its advertised listeners (PIP-95).
        cluster = self._clusters.cluster_at(f"{place} ({listener})" if listener else place)
        if failed:
            self._add_failure(event, cluster, LOOKUP)
        if not isinstance(topic, str):
            return []
        events: list[Event] = []
        if not failed:
            cluster, events = self._add_broker(event, cluster, fields, redirect and bool(fields["authoritative"]))
        entry = self._topics.get((cluster, topic))
        # A redirect that is not authoritative only names a broker to ask. An authoritative one may lead to another
        # cluster that picks a broker, so it sets a topic's owner only if no better source has. An answer without a URL,
        # as from a starting broker, sets no owner.
        picked = redirect and fields["authoritative"] and (entry is None or entry.source in ("", "redirect"))
        named = fields["broker_url"] or fields["broker_url_tls"]
        if named and (picked or not (failed or redirect)):
            events += self._set_owner(event, cluster, topic, fields, "redirect" if redirect else "lookup", service)
            entry = self._topics[cluster, topic]
            latency = fields["latency_s"]
            entry.latency_s = latency if isinstance(latency, int | float) else None
            entry.authoritative = bool(fields["authoritative"])
            entry.proxy_through_service_url = bool(fields["proxy_through_service_url"])
        self._count(event, cluster, topic, failed, redirect)
        return events

    def _produced(self, place: str, topic: Value) -> None:
        """Note that a broker accepts producers: the topic is not migrated, or not any more. Consumers may drain it."""
        if self._clusters.is_known(place) and isinstance(topic, str):
            entry = self._topics.get((self._clusters.cluster_at(place), topic))
            if entry is not None:
                entry.migrated = False

    def _scalable(self, event: Event, place: str, service: str | None) -> list[Event]:
        """Take the layout of a scalable topic: it names the topic's controller, and the owners of its segments."""
        fields, listed = event.fields, tables(event.fields["segments"])
        topic = fields["resolved_topic"] or fields["topic"]
        controller: Fields = {name: fields[f"controller_{name}"] for name in ("broker_url", "broker_url_tls")}
        cluster, events = self._add_brokers(event, place, [controller, *listed])
        entry = self._entry(event, cluster, topic) if isinstance(topic, str) else None
        layout = None if entry is None else next_layout(entry.layout, fields, event.time)
        if entry is None or layout is None:
            return events
        if entry.layout is not None:
            for kind, change in splits_and_merges(listed, entry.layout.epoch):
                about: Fields = {"topic": entry.topic, **change, "cluster": cluster}
                events.append(Event(kind, event.time, event.connection, about))
        entry.layout = layout
        for at in listed:
            name = _text(at["segment_topic"])
            if name is not None:
                segment = self._entry(event, cluster, name)
                segment.segment = segment_of(entry.topic, at, event.time)
                # A layout has the URLs of the brokers' internal listener. Those that lookups give may be others.
                if (at["broker_url"] or at["broker_url_tls"]) and segment.source in ("", "scalable_topic"):
                    events += self._set_owner(event, cluster, name, at, "scalable_topic", service)
        return events

    def _coordinators(self, event: Event, place: str) -> list[Event]:
        """Take the leaders of transaction coordinators: the topics that assign these may have other owners."""
        listed = tables(event.fields["assignments"])
        cluster, events = self._add_brokers(event, place, listed)
        for at in listed:
            entry = self._entry(event, cluster, _COORDINATORS.format(at["tc_id"]))
            entry.leader_url, entry.leader_url_tls = _text(at["broker_url"]), _text(at["broker_url_tls"])
        return events

    def _add_brokers(self, event: Event, place: str, named: list[Fields]) -> tuple[str, list[Event]]:
        """Like `_add_broker`, for all brokers that an event names at this place by their internal listeners.

        These may have loopback URLs, also in other clusters.
        """
        cluster, events = self._clusters.cluster_at(place), list[Event]()
        for plain, tls in dict.fromkeys((_text(at["broker_url"]), _text(at["broker_url_tls"])) for at in named):
            plain = None if plain is not None and is_loopback(plain) else plain
            if plain or tls:
                cluster, joined = self._add_broker(event, cluster, {"broker_url": plain, "broker_url_tls": tls})
                events += joined
        return cluster, events

    def _add_broker(self, event: Event, cluster: str, urls: Fields, redirect: bool = False) -> tuple[str, list[Event]]:
        """Note a broker named in a cluster. Returns the cluster's name, and moves that show only now."""
        name, others = self._clusters.add_broker(cluster, urls, redirect)
        return name, self._merge_clusters(event, name, others) if others else []

    def _merge_clusters(self, event: Event, name: str, others: set[str]) -> list[Event]:
        """Merge these clusters into the cluster with this name."""
        events: list[Event] = []
        for key in [key for key in self._topics if key[0] in others]:
            entry = self._topics.pop(key)
            entry.cluster = name
            before = self._topics.get((name, entry.topic))
            if before is not None:
                older, newer = sorted((before, entry), key=lambda one: one.last_seen)
                entry = merged(older, newer)
                if not older.migrated and _comparable(older, newer.source):
                    urls = newer.broker_url, newer.broker_url_tls
                    events += self._check_move(event, entry, older, *urls, newer.source)
            self._topics[name, entry.topic] = entry
        for key in [key for key in self._namespaces if key[0] in others]:
            gone = self._namespaces.pop(key)
            namespace = self._namespace(name, gone.namespace, gone.last_seen)
            namespace.lookups += gone.lookups
            namespace.failures += gone.failures
            namespace.moves += gone.moves
        for number, failure in enumerate(self._failures):
            if failure.cluster in others:
                self._failures[number] = attrs.evolve(failure, cluster=name)
        return events

    def _set_owner(
        self, event: Event, cluster: str, topic: str, urls: Fields, source: str, service: str | None
    ) -> list[Event]:
        """Set the broker with these URLs as a topic's owner."""
        plain, tls = _text(urls["broker_url"]), _text(urls["broker_url_tls"])
        entry = self._entry(event, cluster, topic)
        if source == "migrated":
            entry.migrated = True
        elif entry.migrated:
            # The brokers of the old cluster still answer lookups with their own URLs.
            return []
        if not entry.has_owner:
            entry.since = event.time
        events = self._check_move(event, entry, entry, plain, tls, source) if _comparable(entry, source) else []
        entry.broker_url, entry.broker_url_tls, entry.source = plain, tls, source
        entry.connection, entry.service = event.connection, service
        entry.unsettled = False
        return events

    def _entry(self, event: Event, cluster: str, topic: str) -> TopicEntry:
        """The entry of a topic, now the one seen last. An unknown topic gets an entry without an owner."""
        entry = self._topics.pop((cluster, topic), None)
        if entry is None:
            entry = TopicEntry(topic, first_seen=event.time, since=event.time, cluster=cluster)
            if len(self._topics) >= self._max_topics:
                del self._topics[next(iter(self._topics))]
        self._topics[cluster, topic] = entry
        entry.last_seen = event.time
        return entry

    def _check_move(
        self, event: Event, entry: TopicEntry, before: TopicEntry, plain: str | None, tls: str | None, source: str
    ) -> list[Event]:
        """Note a move if the broker with these URLs is not the owner in the entry C{before}."""
        if not (_differ(before.broker_url, plain) or _differ(before.broker_url_tls, tls)):
            return []
        move = Move(event.time, before.broker_url, before.broker_url_tls, plain, tls, source)
        entry.moves.append(move)
        entry.moves_total += 1
        entry.since = event.time
        self._namespace(entry.cluster, namespace_of(entry.topic), event.time).moves += 1
        fields: Fields = {
            "topic": entry.topic,
            "from_url": move.from_url,
            "from_url_tls": move.from_url_tls,
            "to_url": plain,
            "to_url_tls": tls,
            "source": source,
            "cluster": entry.cluster,
        }
        return [Event("moved", event.time, event.connection, fields)]

    def _namespace(self, cluster: str, name: str, time: float) -> NamespaceEntry:
        entry = self._namespaces.pop((cluster, name), None) or NamespaceEntry(name, cluster=cluster)
        if len(self._namespaces) >= MAX_NAMESPACES:
            del self._namespaces[next(iter(self._namespaces))]
        self._namespaces[cluster, name] = entry
        entry.last_seen = max(entry.last_seen, time)
        return entry


def _differ(before: str | None, after: str | None) -> bool:
    """Whether two URLs belong to different brokers. A missing URL does not count."""
    return bool(before) and bool(after) and before != after


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _comparable(entry: TopicEntry, source: str) -> bool:
    """Whether the owner in an entry and one that this source names are named by URLs of the same kind."""
    return (entry.source == "scalable_topic") == (source == "scalable_topic")
