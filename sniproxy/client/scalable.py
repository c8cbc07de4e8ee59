"""The layout of a scalable topic: its segments and its controller (Pulsar 5). Pure.

A broker sends it in SCALABLE_TOPIC_UPDATE, as the answer to SCALABLE_TOPIC_LOOKUP and after each change.
"""

from __future__ import annotations

import attrs

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.redirects import refusal
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.pulsar.topicname import segment_name

FEATURE = "scalable_topics"
"""The feature of a broker, as CONNECTED names it."""

MAX_TOPIC_CHARS = 512


@attrs.frozen
class Segment:
    """A part of a scalable topic.

    @ivar topic: its name; that of an older topic if it was one.
    @ivar hash_start: the first hash of its range, 0 to 65535. @ivar hash_end: the last one. None: the broker gave none.
    @ivar sealed: whether it accepts no messages, because it was split or merged.
    @ivar url: the plain URL of its broker, as on the wire. @ivar url_tls: the TLS URL. None: the broker gave none.
    """

    number: int
    topic: str
    hash_start: int | None
    hash_end: int | None
    sealed: bool
    url: str | None
    url_tls: str | None


@attrs.frozen
class Layout:
    """The segments of a scalable topic.

    @ivar controller: the plain URL of the broker that assigns segments to consumers, as on the wire.
    @ivar controller_tls: its TLS URL. Both are None until the first consumer subscribes that needs a controller.
    """

    epoch: int
    segments: tuple[Segment, ...]
    controller: str | None = None
    controller_tls: str | None = None

    def controller_url(self, tls: bool) -> str | None:
        """The URL that clients dial. None: there is no controller yet, and they use the service URL.

        @param tls: whether the client uses TLS. It then dials the plain URL by TLS if there is no other.
        """
        return (self.controller_tls if tls else None) or self.controller


def read_layout(update: pb.CommandScalableTopicUpdate, topic: str, where: str) -> Layout:
    """Read a broker's answer. @param where: the broker and the request. @raise ClientError: it is an error."""
    dag = update.dag
    if update.HasField("error") or not update.HasField("dag"):
        raise refusal(error_name(update), text(update, "message"), where)
    brokers = {at.segment_id: at for at in dag.segment_brokers}
    segments = tuple(_segment(one, brokers.get(one.segment_id), topic) for one in dag.segments)
    controller, controller_tls = text(dag, "controller_broker_url"), text(dag, "controller_broker_url_tls")
    return Layout(dag.epoch, segments, controller or None, controller_tls or None)


def _segment(segment: pb.ScalableTopicSegment, at: pb.ScalableTopicSegmentBroker | None, topic: str) -> Segment:
    ranged = segment.HasField("hash_start") and segment.HasField("hash_end")
    name = segment_name(topic, segment.hash_start, segment.hash_end, segment.segment_id)
    return Segment(
        segment.segment_id,
        text(segment, "legacy_topic_name", MAX_TOPIC_CHARS) or name,
        segment.hash_start if ranged else None,
        segment.hash_end if ranged else None,
        segment.state == segment.SEALED,
        None if at is None else text(at, "broker_url") or None,
        None if at is None else text(at, "broker_url_tls") or None,
    )


def controller_address(url: str) -> tuple[str, int]:
    """Host and port of a controller's URL, whatever its scheme. @raise ClientError: it is not a service URL."""
    try:
        return parse_service_url(url, "the URL of the controller").hosts[0]
    except BadServiceURL as error:
        raise ClientError(
            FailureKind.NO_TLS_URL, str(error), "check the internal listener of the broker (advertisedAddress)"
        ) from error


def unsupported(where: str, version: str | None) -> ClientError:
    """The error for a broker without scalable topics. @param version: that it reports."""
    return ClientError(
        FailureKind.UNSUPPORTED,
        f"{where}: {version or 'this broker'} does not support scalable topics",
        "topic:// and segment:// need Pulsar 5 or newer, and no bridge or proxy between that hides this feature",
    )
