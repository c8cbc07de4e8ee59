"""What an inspector tells of a Pulsar connection: events, their names and their fields.

Names and fields are stable: fields may be added, none goes away or changes its meaning. Every event has a ``name``, a
``time`` (seconds since 1970, when the last byte of the frame came by) and a ``connection`` (who watches chose that
name). A field is there in every event of its name, and None when the peers did not say it. Texts of peers are bounded
and in printable ASCII, everything else as backslash escapes. Fields in ``_s`` are seconds; latencies count from the
request to its answer, and are None when the request was not seen. ``error`` is a ServerError by its name
(``ServiceNotReady``), or ``ServerError 26`` for one that this release does not know. URLs are as on the wire, None
when absent. ``properties`` are those that a client gave the request, 64 at most, by name; they and principals are None
unless they are asked for.

=================  ====================================================================================================
event              when, and its fields
=================  ====================================================================================================
``connect``        CONNECT. ``client_version``, ``protocol_version``, ``auth_method`` (its name, never its data),
                   ``proxy_to_broker_url`` (``host:port``; what Pulsar's proxy is asked to connect to),
                   ``proxy_version``, ``feature_flags`` (names of those that are on), ``original_principal`` and
                   ``original_auth_method`` (None unless they are asked for)
``connected``      CONNECTED. ``server_version``, ``protocol_version``, ``max_message_size`` (bytes),
                   ``feature_flags``, ``latency_s``
``auth``           AUTH_CHALLENGE, AUTH_RESPONSE. ``step``: ``challenge`` or ``response``; ``method``
``lookup``         exactly one for each LOOKUP_RESPONSE. ``topic`` as asked, None when the LOOKUP was not seen;
                   ``response``: ``connect``, ``redirect`` (ask that broker) or ``failed``; ``broker_url``,
                   ``broker_url_tls``; ``authoritative``, ``proxy_through_service_url``: true or false;
                   ``advertised_listener`` (the broker's listener that the client asked for, PIP-95; None: that of
                   its port), ``properties``, ``latency_s``, ``error``, ``message``
``partitions``     PARTITIONED_METADATA_RESPONSE. ``topic``, ``status``: ``success`` or ``failed``; ``partitions``
                   (0: not a partitioned topic), ``latency_s``, ``error``, ``message``
``producer``       the answer to a PRODUCER. ``topic``, ``status``: ``ready``, ``queued`` (it waits for its turn, and a
                   second answer comes) or ``failed``; ``producer_id``, ``producer_name``, ``properties``,
                   ``latency_s``, ``error``, ``message``
``subscribe``      the answer to a SUBSCRIBE. ``topic``, ``status``: ``ready`` or ``failed``; ``subscription``,
                   ``subscription_type``, ``consumer_id``, ``consumer_name``, ``properties``,
                   ``subscription_properties``, ``latency_s``, ``error``, ``message``
``unsubscribe``    UNSUBSCRIBE. ``topic``, ``consumer_id``
``close``          CLOSE_PRODUCER, CLOSE_CONSUMER. ``by``: ``client`` or ``broker``; ``kind``: ``producer`` or
                   ``consumer``; ``id``, ``topic``; ``broker_url``, ``broker_url_tls``: where the topic went (PIP-307)
``migrated``       TOPIC_MIGRATED (PIP-188). ``kind``, ``id``, ``topic``, ``broker_url``, ``broker_url_tls``
``topics``         the answer to GET_TOPICS_OF_NAMESPACE or WATCH_TOPIC_LIST. ``request`` (which of them),
                   ``namespace``, ``properties``, ``topics`` (how many), ``latency_s``
``topics_changed`` WATCH_TOPIC_UPDATE. ``namespace``, ``added``, ``removed`` (how many)
``scalable_topic`` SCALABLE_TOPIC_UPDATE (Pulsar 5.0). ``topic``, ``resolved_topic``, ``status``: ``success`` or
                   ``failed``; ``epoch``, ``segments``: the first 256 of ``segments_total``, each with ``segment_id``,
                   ``topic`` (of an older topic that is this segment, else None), ``sealed``, ``broker_url``,
                   ``broker_url_tls``; ``controller_broker_url``, ``controller_broker_url_tls``, ``latency_s`` (of the
                   first in a session), ``error``, ``message``
``coordinators``   WATCH_TC_ASSIGNMENTS_UPDATE (Pulsar 5.0). ``parallelism``, ``assignments``: the first 256 of
                   ``assignments_total``, each with ``tc_id``, ``broker_url``, ``broker_url_tls``
``send_error``     SEND_ERROR. ``topic``, ``producer_id``, ``sequence_id``, ``error``, ``message``
``error``          ERROR, unless it answers a PRODUCER or SUBSCRIBE, and any answer that carries an error.
                   ``request``: the type of what it answers, None for an error of the connection or an unknown request;
                   ``topic``, ``latency_s``, ``error``, ``message``
``unanswered``     a request got no answer within 120 s, was pushed out by 5000 later ones, or the connection ended
                   (of those, at most 100 events). ``request``, ``topic``, ``waited_s``
``command``        one for each command of the types that were asked for. ``side``: ``client`` or ``broker``;
                   ``command``: its type, ``TYPE_82`` for one that this release does not know; ``size`` of the frame
                   and ``payload`` in it, in bytes
``gap``            bytes are missing, or the stream does not begin with a frame: the beginning of the next frame is
                   looked for. ``side``
``resumed``        it was found. ``side``, ``skipped`` (bytes that came, but could not be read)
``lost``           a stream cannot be read as Pulsar's; both sides of it are let go. ``side``, ``reason``, ``offset``
                   (bytes that came before, at least)
``ended``          a connection on which something was said ended. ``client_frames``, ``broker_frames``,
                   ``client_bytes``, ``broker_bytes``, ``client_payload``, ``broker_payload`` (bytes of messages),
                   ``commands``: how many of each type
``tls``            of captures: a connection is TLS and cannot be read. ``server_name``, ``alpn`` of its hello,
                   ``message``. (``ended`` of captures also has ``how``: ``fin``, ``rst``, ``reused``, ``forgotten``
                   or ``capture``, the end of the file.)
``moved``          of the ledger, not of a connection: a topic is at another broker than before. ``topic``,
                   ``from_url``, ``from_url_tls``, ``to_url``, ``to_url_tls``; ``source``: the event that told,
                   such as ``lookup``; ``cluster``: whose topic it is, by the place where it was first asked
``unrouted``       of the proxy: a TLS URL is advertised whose host no route has. ``broker_url_tls``, ``message``
=================  ====================================================================================================
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
"""What JSON can hold."""

Fields: TypeAlias = dict[str, Value]
"""The fields of an event."""

COMMANDS: dict[str, frozenset[str]] = {
    "connect": frozenset({"CONNECT"}),
    "connected": frozenset({"CONNECTED"}),
    "auth": frozenset({"AUTH_CHALLENGE", "AUTH_RESPONSE"}),
    "lookup": frozenset({"LOOKUP", "LOOKUP_RESPONSE"}),
    "partitions": frozenset({"PARTITIONED_METADATA", "PARTITIONED_METADATA_RESPONSE"}),
    "producer": frozenset({"PRODUCER", "PRODUCER_SUCCESS"}),
    "subscribe": frozenset({"SUBSCRIBE", "SUCCESS"}),
    "unsubscribe": frozenset({"UNSUBSCRIBE"}),
    "close": frozenset({"CLOSE_PRODUCER", "CLOSE_CONSUMER"}),
    "migrated": frozenset({"TOPIC_MIGRATED"}),
    "topics": frozenset(
        {
            *("GET_TOPICS_OF_NAMESPACE", "GET_TOPICS_OF_NAMESPACE_RESPONSE"),
            *("WATCH_TOPIC_LIST", "WATCH_TOPIC_LIST_SUCCESS"),
        }
    ),
    "topics_changed": frozenset({"WATCH_TOPIC_UPDATE"}),
    "scalable_topic": frozenset({"SCALABLE_TOPIC_LOOKUP", "SCALABLE_TOPIC_UPDATE"}),
    "coordinators": frozenset({"WATCH_TC_ASSIGNMENTS", "WATCH_TC_ASSIGNMENTS_UPDATE"}),
    "send_error": frozenset({"SEND_ERROR"}),
    "error": frozenset({"ERROR"}),
}
"""The commands that an event tells of, by the event's name. The other events tell of no command in particular."""


@frozen
class Event:
    """One thing that happened; the table above says which fields it has."""

    name: str
    time: float
    connection: str
    fields: Fields
