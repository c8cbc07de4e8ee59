"""Names of topics, of their namespaces, partitions and segments. Pure.

A scalable topic of Pulsar 5.0, ``topic://tenant/namespace/name``, consists of segments. A segment has the name
``segment://tenant/namespace/name/0000-7fff-0``: the ends of its range of hashes in hexadecimal digits, and its id.
"""

from __future__ import annotations

import re

_PARTITION = re.compile(r"(.+)-partition-\d+", re.DOTALL)
_SEGMENT = re.compile(r"segment://(.+)/[0-9a-f]{4,8}-[0-9a-f]{4,8}-\d+", re.DOTALL)
_TWO_PART_NAMESPACES = ("topic", "segment")


def segment_name(topic: str, hash_start: int, hash_end: int, segment_id: int) -> str:
    """The name of a segment of a scalable topic, whose name may be in a short form."""
    path = topic.partition("://")[2] or topic
    if "/" not in path:
        path = f"public/default/{path}"
    return f"segment://{path}/{hash_start:04x}-{hash_end:04x}-{segment_id}"


def topic_of_segment(name: str) -> str | None:
    """The scalable topic of a segment. None: this is not the name of a segment."""
    match = _SEGMENT.fullmatch(name)
    return None if match is None else f"topic://{match[1]}"


def topic_of_partition(name: str) -> str | None:
    """The partitioned topic of a partition. None: this is not the name of a partition."""
    match = _PARTITION.fullmatch(name)
    return None if match is None else match[1]


def namespace_of(topic: str) -> str:
    """The namespace of a topic: ``public/default`` for ``persistent://public/default/orders`` and for ``orders``.

    Names of old releases have a cluster between tenant and namespace; names of scalable topics and segments do not.
    """
    scheme, _, path = topic.rpartition("://")
    if scheme in _TWO_PART_NAMESPACES:
        return "/".join(path.split("/")[:2]) if path.count("/") > 1 else "public/default"
    return path.rpartition("/")[0] or "public/default"


def full_name(topic: str) -> str:
    """A topic's full name: C{persistent://public/default/orders} for C{orders}."""
    if "://" in topic:
        return topic
    return f"persistent://{topic if topic.count('/') > 1 else f'public/default/{topic}'}"


def is_topic(wanted: str, topic: str | None) -> bool:
    """Whether this is the topic, or a partition of it. @param wanted: a full name. @param topic: None: unknown."""
    if topic is None:
        return False
    name = full_name(topic)
    return wanted in (name, topic_of_partition(name))
