"""Layouts of scalable topics (Pulsar 5.0): their segments and controller, splits and merges. Pure.

Brokers send layouts to sessions, and each session has its own pace: a layout may be older than one seen before.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from sniproxy.pulsar.events import Fields, Value


@frozen
class Segment:
    """A topic as a segment of a scalable topic.

    ``hash_start`` and ``hash_end``: its range of 16-bit hashes, both included; None: the broker did not say.
    ``sealed``: it was split or merged, and accepts no messages. ``parents``: the ids of the segments that it was
    made of. ``listed``: when a layout listed it last, in seconds since 1970.
    """

    scalable_topic: str
    segment_id: int
    hash_start: int | None
    hash_end: int | None
    sealed: bool
    parents: tuple[int, ...]
    listed: float


@frozen
class Layout:
    """The last layout of a scalable topic.

    ``epoch``: grows with each split and merge. ``created``: when its newest segment was created; None: unknown.
    ``listed``: when the layout was seen last. Both are seconds since 1970. ``segments``: their number.
    ``controller_url``, ``controller_url_tls``: the broker that assigns segments to consumers; both None: there is none
    yet.
    """

    epoch: int
    created: float | None
    listed: float
    segments: int
    controller_url: str | None = None
    controller_url_tls: str | None = None


def next_layout(before: Layout | None, fields: Fields, time: float) -> Layout | None:
    """The layout in a ``scalable_topic`` event, given the last one. None: the event has no layout, or an older one.

    A topic that was deleted and created again begins with a lower epoch, but its segments are newer.
    """
    epoch, total = fields["epoch"], fields["segments_total"]
    if not isinstance(epoch, int) or not isinstance(total, int):
        return None
    made = [at["created"] for at in tables(fields["segments"])]
    created = max((at for at in made if isinstance(at, int | float)), default=None)
    if before is not None and epoch < before.epoch and (created or 0.0) <= (before.created or 0.0):
        return None
    plain, tls = _text(fields["controller_broker_url"]), _text(fields["controller_broker_url_tls"])
    same = before is not None and (epoch > before.epoch or created == before.created)
    if before is not None and same and not plain and not tls:
        # Sessions that began before the controller are not all told about it.
        plain, tls = before.controller_url, before.controller_url_tls
    return Layout(epoch, created, time, total, plain, tls)


def segment_of(topic: str, at: Fields, time: float) -> Segment:
    """The segment of this scalable topic in an element of ``segments`` of a ``scalable_topic`` event."""
    number, parents = at["segment_id"], at["parents"]
    assert isinstance(number, int) and isinstance(parents, list)
    return Segment(
        topic,
        number,
        _int(at["hash_start"]),
        _int(at["hash_end"]),
        bool(at["sealed"]),
        tuple(one for one in parents if isinstance(one, int)),
        time,
    )


def splits_and_merges(segments: Iterable[Fields], epoch: int) -> list[tuple[str, Fields]]:
    """The splits and merges after this epoch, oldest first: the names of their events, ``split`` or ``merged``.

    The fields are ``epoch``, ``parents`` and ``children``. Several changes may come in one layout.
    """
    known = {at["segment_id"]: at for at in segments}
    groups: dict[tuple[int, tuple[int, ...]], list[Fields]] = {}
    for at in known.values():
        made, parents = at["created_epoch"], at["parents"]
        if isinstance(made, int) and made > epoch and isinstance(parents, list) and parents:
            ids = tuple(sorted(one for one in parents if isinstance(one, int)))
            groups.setdefault((made, ids), []).append(at)
    found: list[tuple[str, Fields]] = []
    for (made, ids), children in sorted(groups.items(), key=lambda group: group[0]):
        gone: Fields = {"segment_topic": None, "hash_start": None, "hash_end": None}
        parents_told: list[Value] = [_brief(known.get(one, {**gone, "segment_id": one})) for one in ids]
        fields: Fields = {"epoch": made, "parents": parents_told, "children": [_brief(child) for child in children]}
        found.append(("merged" if len(ids) > len(children) else "split", fields))
    return found


def tables(value: Value) -> list[Fields]:
    """The objects of a list in an event."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _brief(segment: Fields) -> Fields:
    return {name: segment[name] for name in ("segment_id", "segment_topic", "hash_start", "hash_end")}


def _int(value: Value) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None
