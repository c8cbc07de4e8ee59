"""Parts of events that carry brokers' URLs: they say where topics are. Pure."""

from __future__ import annotations

from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.events import Fields, Value

MAX_TOPIC_CHARS = 512
"""Largest number of characters of a topic's name in an event."""

MAX_LISTED = 256
"""Segments or assignments listed in one event."""


def broker_urls(command: Any, plain: str, tls: str) -> Fields:
    """A broker's two URLs, from the command's fields with these names. None: the field is absent."""
    return {"broker_url": text(command, plain), "broker_url_tls": text(command, tls)}


def scalable_topic(update: pb.CommandScalableTopicUpdate, latency: float | None) -> Fields:
    """The fields of a ``scalable_topic`` event, without the requested topic."""
    dag = update.dag
    brokers = {at.segment_id: at for at in dag.segment_brokers}
    segments: list[Value] = [
        {
            "segment_id": segment.segment_id,
            "topic": text(segment, "legacy_topic_name", MAX_TOPIC_CHARS),
            "sealed": segment.state == segment.SEALED,
            **broker_urls(
                brokers.get(segment.segment_id, pb.ScalableTopicSegmentBroker()), "broker_url", "broker_url_tls"
            ),
        }
        for segment in dag.segments[:MAX_LISTED]
    ]
    return {
        "resolved_topic": text(update, "resolved_topic_name", MAX_TOPIC_CHARS),
        "status": "failed" if update.HasField("error") or not update.HasField("dag") else "success",
        "epoch": dag.epoch if update.HasField("dag") else None,
        "segments": segments,
        "segments_total": len(dag.segments),
        "controller_broker_url": text(dag, "controller_broker_url"),
        "controller_broker_url_tls": text(dag, "controller_broker_url_tls"),
        "latency_s": latency,
        "error": error_name(update),
        "message": text(update, "message"),
    }


def coordinators(update: pb.CommandWatchTcAssignmentsUpdate) -> Fields:
    """The fields of a ``coordinators`` event: the broker of each transaction coordinator."""
    snapshot = update.snapshot
    assignments: list[Value] = [
        {"tc_id": at.tc_id, **broker_urls(at, "broker_service_url", "broker_service_url_tls")}
        for at in snapshot.assignments[:MAX_LISTED]
    ]
    return {
        "parallelism": snapshot.parallelism if snapshot.HasField("parallelism") else None,
        "assignments": assignments,
        "assignments_total": len(snapshot.assignments),
    }
