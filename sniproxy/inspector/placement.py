"""Parts of events that carry brokers' URLs: they say where topics are. Pure."""

from __future__ import annotations

from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.events import Fields, Value
from sniproxy.pulsar.topicname import segment_name

MAX_TOPIC_CHARS = 512
"""Largest number of characters of a topic's name in an event."""

MAX_LISTED = 256
"""Segments or assignments listed in one event."""

MAX_PARENTS = 16
"""Parents listed of one segment. Pulsar merges two segments at a time."""


def broker_urls(command: Any, plain: str, tls: str) -> Fields:
    """A broker's two URLs, from the command's fields with these names. None: the field is absent."""
    return {"broker_url": text(command, plain), "broker_url_tls": text(command, tls)}


def scalable_topic(update: pb.CommandScalableTopicUpdate, topic: str | None, latency: float | None) -> Fields:
    """The fields of a ``scalable_topic`` event but ``topic``, the requested topic. None: the request was missed."""
    dag = update.dag
    resolved = text(update, "resolved_topic_name", MAX_TOPIC_CHARS)
    brokers = {at.segment_id: at for at in dag.segment_brokers}
    nowhere = pb.ScalableTopicSegmentBroker()
    segments: list[Value] = [
        {
            **_segment(segment, resolved or topic),
            **broker_urls(brokers.get(segment.segment_id, nowhere), "broker_url", "broker_url_tls"),
        }
        for segment in dag.segments[:MAX_LISTED]
    ]
    return {
        "resolved_topic": resolved,
        "status": "failed" if error_name(update) is not None or not update.HasField("dag") else "success",
        "epoch": dag.epoch if update.HasField("dag") else None,
        "segments": segments,
        "segments_total": len(dag.segments),
        "controller_broker_url": text(dag, "controller_broker_url"),
        "controller_broker_url_tls": text(dag, "controller_broker_url_tls"),
        "latency_s": latency,
        "error": error_name(update),
        "message": text(update, "message"),
    }


def _segment(segment: pb.ScalableTopicSegment, topic: str | None) -> Fields:
    """The fields of a segment of this scalable topic, but its broker."""
    legacy = text(segment, "legacy_topic_name", MAX_TOPIC_CHARS)
    name = legacy
    if not legacy and topic is not None and segment.HasField("hash_start") and segment.HasField("hash_end"):
        name = segment_name(topic, segment.hash_start, segment.hash_end, segment.segment_id)
    return {
        "segment_id": segment.segment_id,
        "topic": legacy,
        "segment_topic": name,
        "hash_start": segment.hash_start if segment.HasField("hash_start") else None,
        "hash_end": segment.hash_end if segment.HasField("hash_end") else None,
        "sealed": segment.state == segment.SEALED,
        "parents": [*segment.parent_ids[:MAX_PARENTS]],
        "created_epoch": segment.created_at_epoch if segment.HasField("created_at_epoch") else None,
        "created": segment.created_at_ms / 1000 if segment.HasField("created_at_ms") else None,
    }


def coordinators(update: pb.CommandWatchTcAssignmentsUpdate, latency: float | None) -> Fields:
    """The fields of a ``coordinators`` event: the broker of each transaction coordinator."""
    snapshot = update.snapshot
    assignments: list[Value] = [
        {"tc_id": at.tc_id, **broker_urls(at, "broker_service_url", "broker_service_url_tls")}
        for at in snapshot.assignments[:MAX_LISTED]
    ]
    error = error_name(update)
    return {
        "status": "success" if error is None else "failed",
        "parallelism": snapshot.parallelism if snapshot.HasField("parallelism") else None,
        "assignments": assignments,
        "assignments_total": len(snapshot.assignments),
        "latency_s": latency,
        "error": error,
        "message": text(update, "message"),
    }
