"""Formats events as JSON lines and as short readable lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from sniproxy.inspector.layouts import tables
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.util.text import amount, counted

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "31", "32", "33", "2", ""
_NAME_WIDTH = 11
_CONNECTION_WIDTH = 4
_NO_URL = "no URL"
_MAX_LISTED = 8
_MAX_LEADERS = 2


def json_line(event: Event) -> str:
    """The event as one line of JSON, in ASCII and without a line end.

    Its keys are ``event`` (the name), ``time``, ``connection``, and the event's fields.
    """
    whole = {"event": event.name, "time": event.time, "connection": event.connection, **event.fields}
    return json.dumps(whole, separators=(", ", ": "))


def readable_line(event: Event, colour: bool = False) -> str:
    """The event as one short line: time of day (UTC), connection, name and details.

    ``colour``: whether to use a terminal's colours.
    """
    try:
        moment = f"{datetime.fromtimestamp(event.time, UTC):%H:%M:%S.%f}"[:-3]
    except (ValueError, OverflowError, OSError):
        # A capture may contain any time.
        moment = "--:--:--.---"
    about = _DETAILS.get(event.name, _all_fields)(event.fields)
    name = f"{event.name:<{_NAME_WIDTH}}"
    shade = _shade(event)
    if colour and shade:
        name = f"\x1b[{shade}m{name}\x1b[0m"
    return f"{moment}  {event.connection:<{_CONNECTION_WIDTH}}  {name}  {about}".rstrip()


def _shade(event: Event) -> str:
    fields = event.fields
    if event.name in ("lost", "error", "send_error") or "failed" in (fields.get("response"), fields.get("status")):
        return _RED
    if event.name in ("moved", "migrated", "split", "merged", "unanswered", "gap") or fields.get("by") == "broker":
        return _YELLOW
    if event.name == "lookup":
        return _GREEN
    return _DIM if event.name in ("ended", "command", "resumed") else _PLAIN


def _urls(fields: Fields, plain: str = "broker_url", tls: str = "broker_url_tls") -> str:
    """A broker's URLs."""
    urls = [str(url) for url in (fields.get(plain), fields.get(tls)) if url]
    return " | ".join(dict.fromkeys(urls)) or _NO_URL


def _notes(*parts: str | None) -> str:
    """Details in parentheses, if any."""
    given = [part for part in parts if part]
    return f" ({', '.join(given)})" if given else ""


def _latency(seconds: Value) -> str | None:
    if not isinstance(seconds, int | float):
        return None
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _failure(fields: Fields) -> str:
    error, message = fields.get("error") or "failed", fields.get("message")
    return f"{error}: {message}" if message else f"{error}"


def _topic(fields: Fields) -> str:
    return str(fields.get("topic") or "(unknown topic)")


def _all_fields(fields: Fields) -> str:
    """All fields that are not None."""
    return " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)


def _properties(fields: Fields) -> str | None:
    """Properties, which are None unless ``reveal`` is set."""
    found = [fields.get(name) for name in ("properties", "subscription_properties")]
    return " ".join(f"{key}={value}" for each in found if isinstance(each, dict) for key, value in each.items()) or None


def _connect(fields: Fields) -> str:
    target, method = fields.get("proxy_to_broker_url"), fields.get("auth_method")
    principal = fields.get("original_principal")
    return f"{fields.get('client_version')}" + _notes(
        f"protocol {fields.get('protocol_version')}",
        f"auth {method}" if method else None,
        f"through a proxy to {target}" if target else None,
        f"for {principal}" if principal else None,
    )


def _connected(fields: Fields) -> str:
    return f"{fields.get('server_version')}" + _notes(
        f"protocol {fields.get('protocol_version')}", _latency(fields.get("latency_s"))
    )


def _lookup(fields: Fields) -> str:
    latency = _latency(fields.get("latency_s"))
    if fields.get("response") == "failed":
        return f"{_topic(fields)} -> {_failure(fields)}" + _notes(latency)
    redirect = "ask " if fields.get("response") == "redirect" else ""
    return f"{_topic(fields)} -> {redirect}{_urls(fields)}" + _notes(
        "authoritative" if fields.get("authoritative") else None,
        "through the service URL" if fields.get("proxy_through_service_url") else None,
        _properties(fields),
        latency,
    )


def _partitions(fields: Fields) -> str:
    latency = _notes(_latency(fields.get("latency_s")))
    count = fields.get("partitions")
    if fields.get("status") == "failed":
        return f"{_topic(fields)} -> {_failure(fields)}{latency}"
    many = counted(count, "partition") if isinstance(count, int) and count else "not partitioned"
    return f"{_topic(fields)} -> {many}{latency}"


def _opened(fields: Fields) -> str:
    """An answer to PRODUCER or SUBSCRIBE."""
    text = _topic(fields)
    if fields.get("subscription") is not None:
        text += f" as {fields['subscription']}"
    status = _failure(fields) if fields.get("status") == "failed" else str(fields.get("status"))
    return f"{text} -> {status}" + _notes(_properties(fields), _latency(fields.get("latency_s")))


def _close(fields: Fields) -> str:
    text = f"{fields.get('kind')} {fields.get('id')} of {_topic(fields)}, by the {fields.get('by')}"
    return text + (f" -> {_urls(fields)}" if fields.get("broker_url") or fields.get("broker_url_tls") else "")


def _migrated(fields: Fields) -> str:
    return f"{fields.get('kind')} {fields.get('id')} of {_topic(fields)} -> {_urls(fields)}"


def _moved(fields: Fields) -> str:
    before, after = _urls(fields, "from_url", "from_url_tls"), _urls(fields, "to_url", "to_url_tls")
    return f"{_topic(fields)}: {before} -> {after}" + _notes(str(fields.get("source")))


def _error(fields: Fields) -> str:
    about = [str(fields[key]) for key in ("request", "topic") if fields.get(key)]
    return f"{' '.join(about) or 'the connection'} -> {_failure(fields)}" + _notes(_latency(fields.get("latency_s")))


def _scalable(fields: Fields) -> str:
    if fields.get("status") == "failed":
        return f"{_topic(fields)} -> {_failure(fields)}"
    sealed = sum(at.get("sealed") is True for at in tables(fields.get("segments")))
    controller = _urls(fields, "controller_broker_url", "controller_broker_url_tls")
    return f"{_topic(fields)} -> {_segments_total(fields)}" + _notes(
        f"{sealed} sealed" if sealed else None,
        f"epoch {fields.get('epoch')}",
        "no controller yet" if controller == _NO_URL else f"controller {controller}",
    )


def _segments_total(fields: Fields) -> str:
    count = fields.get("segments_total")
    return counted(count if isinstance(count, int) else 0, "segment")


def _segments(value: Value) -> str:
    """Segments by the last part of their names, which has the range of hashes and the id."""
    return _list([str(at.get("segment_topic") or at.get("segment_id")).rpartition("/")[2] for at in tables(value)])


def _list(texts: list[str], most: int = _MAX_LISTED, between: str = ", ") -> str:
    """The first of these texts."""
    return between.join([*texts[:most], *(["..."] if len(texts) > most else [])])


def _consumer(fields: Fields) -> str:
    """A consumer of a scalable topic."""
    name = fields.get("consumer_name")
    kind = str(fields.get("consumer_type") or "").lower()
    about = " ".join(
        str(part) for part in (kind, "consumer", fields.get("consumer_id"), name) if part not in (None, "")
    )
    subscription = fields.get("subscription")
    return f"{_topic(fields)}{'' if subscription is None else f' as {subscription}'}, {about}"


def _assigned(fields: Fields) -> str:
    """The segments that a consumer has: SCALABLE_TOPIC_SUBSCRIBE_RESPONSE, SCALABLE_TOPIC_ASSIGNMENT_UPDATE."""
    latency = _notes(_latency(fields.get("latency_s")))
    if fields.get("status") == "failed":
        return f"{_consumer(fields)} -> {_failure(fields)}{latency}"
    listed = _segments(fields.get("segments"))
    return f"{_consumer(fields)} -> {_segments_total(fields)}{f': {listed}' if listed else ''}{latency}"


def _resegmented(fields: Fields) -> str:
    before, after = _segments(fields.get("parents")), _segments(fields.get("children"))
    return f"{_topic(fields)}: {before} -> {after}" + _notes(f"epoch {fields.get('epoch')}")


def _coordinators(fields: Fields) -> str:
    if fields.get("status") == "failed":
        return f"transaction coordinators -> {_failure(fields)}" + _notes(_latency(fields.get("latency_s")))
    led: dict[str, list[str]] = {}
    for at in tables(fields.get("assignments")):
        led.setdefault(_urls(at), []).append(str(at["tc_id"]))
    listed = [f"{_list(ids)} -> {leader}" for leader, ids in led.items()]
    return f"{fields.get('assignments_total')} assigned: {_list(listed, _MAX_LEADERS, '; ')}"


def _ended(fields: Fields) -> str:
    def side(name: str) -> str:
        frames, size = fields.get(f"{name}_frames"), fields.get(f"{name}_bytes")
        return f"{name} {frames} frames, {amount(size if isinstance(size, int) else 0)}"

    return f"{side('client')}; {side('broker')}"


_DETAILS: dict[str, Callable[[Fields], str]] = {
    "connect": _connect,
    "connected": _connected,
    "lookup": _lookup,
    "partitions": _partitions,
    "producer": _opened,
    "subscribe": _opened,
    "close": _close,
    "migrated": _migrated,
    "moved": _moved,
    "error": _error,
    "send_error": _error,
    "scalable_topic": _scalable,
    "scalable_subscribe": _assigned,
    "assignment": _assigned,
    "scalable_unsubscribe": _consumer,
    "split": _resegmented,
    "merged": _resegmented,
    "coordinators": _coordinators,
    "ended": _ended,
}
