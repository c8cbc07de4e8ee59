"""Topic names. Pure."""

from __future__ import annotations

from sniproxy.pulsar.topicname import topic_of_segment
from sniproxy.util.text import bounded

_DOMAINS = ("persistent", "non-persistent", "topic", "segment")
_SCALABLE = "topic://"


class BadTopic(ValueError):
    """The text is not a topic name; the message shows the syntax."""


def full_name(text: str) -> str:
    """The full name of a topic. ``orders`` and ``public/default/orders`` are short forms, as in all Pulsar clients.

    @raise BadTopic: the text is not a topic name.
    """
    domain, separator, rest = text.partition("://")
    if not separator:
        domain, rest = "persistent", text
        if "/" not in text:
            rest = f"public/default/{text}"
    parts = rest.split("/", 2)
    if domain not in _DOMAINS or len(parts) != 3 or "" in parts or not rest.isprintable():
        raise BadTopic(
            f"invalid topic {bounded(text)!r}; write persistent://TENANT/NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC, "
            "TOPIC in public/default, or topic://TENANT/NAMESPACE/TOPIC"
        )
    name = f"{domain}://{rest}"
    if domain == "segment" and (topic_of_segment(name) is None or "/" not in parts[2]):
        raise BadTopic(
            f"invalid segment {bounded(text)!r}; write segment://TENANT/NAMESPACE/TOPIC/0000-7fff-0: the ends of its "
            "range of hashes, and its id"
        )
    return name


def is_scalable(topic: str) -> bool:
    """Whether a full name is that of a scalable topic, which has segments (Pulsar 5)."""
    return topic.startswith(_SCALABLE)


def is_segment(topic: str) -> bool:
    """Whether a full name is that of a segment of a scalable topic."""
    return topic_of_segment(topic) is not None


def partitions(topic: str, count: int) -> list[str]:
    """The names of the partitions of a topic; its own name if it has none (0)."""
    return [f"{topic}-partition-{number}" for number in range(count)] if count else [topic]
