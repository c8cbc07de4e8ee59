"""Answers that are too long to hold: finds the request that they answer from their first bytes. Pure."""

from __future__ import annotations

from sniproxy.inspector.pending import ERROR_REQUESTS, PLAIN_ANSWERS, SUCCESS_REQUESTS, PendingRequests
from sniproxy.pulsar import commands_pb2 as pb

T = pb.BaseCommand.Type

ANSWERED_REQUESTS: dict[int, tuple[int, ...]] = {
    **{answer: (request,) for answer, (request, _, _) in PLAIN_ANSWERS.items()},
    T.CONNECTED: (T.CONNECT,),
    T.LOOKUP_RESPONSE: (T.LOOKUP,),
    T.PARTITIONED_METADATA_RESPONSE: (T.PARTITIONED_METADATA,),
    T.PRODUCER_SUCCESS: (T.PRODUCER,),
    T.SUCCESS: SUCCESS_REQUESTS,
    T.ERROR: (*ERROR_REQUESTS, T.CONNECT),
    T.GET_TOPICS_OF_NAMESPACE_RESPONSE: (T.GET_TOPICS_OF_NAMESPACE,),
    T.WATCH_TOPIC_LIST_SUCCESS: (T.WATCH_TOPIC_LIST,),
    T.SCALABLE_TOPIC_UPDATE: (T.SCALABLE_TOPIC_LOOKUP,),
    T.SCALABLE_TOPIC_SUBSCRIBE_RESPONSE: (T.SCALABLE_TOPIC_SUBSCRIBE,),
    T.WATCH_SCALABLE_TOPICS_UPDATE: (T.WATCH_SCALABLE_TOPICS,),
    T.WATCH_TC_ASSIGNMENTS_UPDATE: (T.WATCH_TC_ASSIGNMENTS,),
}
"""The types of requests that a broker's command can answer, by its type."""

_FIELDS = {
    field.number: field.message_type.fields_by_name
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}


def request_id(number: int, beginning: bytes) -> int | None:
    """Read the request id, session id or watch id from the beginning of a command. None: it is not there."""
    names = _FIELDS[number]
    wanted = next((names[name].number for name in ("request_id", "session_id", "watch_id") if name in names), None)
    try:
        _, at = _varint(beginning, 2)
        _, at = _varint(beginning, at)
        while True:
            tag, at = _varint(beginning, at)
            kind = tag & 7
            if kind not in (0, 1, 2, 5):
                return None
            value, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(beginning, at)
            if kind:
                at += value
            elif tag >> 3 == wanted:
                return value
    except IndexError:
        return None


def settle(
    pending: PendingRequests, number: int, beginning: bytes, time: float
) -> tuple[int | None, str | None, float | None]:
    """Remove the pending request that a broker's command answers.

    If the beginning of the command has no request id, that is the oldest request of the possible types. Returns the
    request's type, its topic and the latency in seconds, each None if unknown.
    """
    requests = ANSWERED_REQUESTS.get(number, ())
    which = 0 if number == T.CONNECTED else request_id(number, beginning)
    if which is None:
        which = pending.oldest(requests)
    if which is None:
        return None, None, None
    request, found, latency = pending.take(requests, which, time)
    return request, found.topic, latency


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint and the offset after it. Raises `IndexError` at the end of the bytes."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
