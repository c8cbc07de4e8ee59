"""Topic names. Pure."""

from __future__ import annotations

from sniproxy.util.text import bounded

_DOMAINS = ("persistent", "non-persistent")


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
            f"invalid topic {bounded(text)!r}; write persistent://TENANT/NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC, or "
            "TOPIC in public/default"
        )
    return f"{domain}://{rest}"


def partitions(topic: str, count: int) -> list[str]:
    """The names of the partitions of a topic; its own name if it has none (0)."""
    return [f"{topic}-partition-{number}" for number in range(count)] if count else [topic]
