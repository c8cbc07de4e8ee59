"""How topics are written. Pure."""

from __future__ import annotations

from sniproxy.util.text import bounded

_DOMAINS = ("persistent", "non-persistent")


class BadTopic(ValueError):
    """A text that is no topic; the message says how one is written."""


def full_name(text: str) -> str:
    """The full name of a topic: ``orders`` and ``public/default/orders`` are short forms, as in all Pulsar clients.

    @raise BadTopic: it is neither.
    """
    domain, separator, rest = text.partition("://")
    if not separator:
        domain, rest = "persistent", text
        if "/" not in text:
            rest = f"public/default/{text}"
    parts = rest.split("/", 2)
    if domain not in _DOMAINS or len(parts) != 3 or "" in parts or not rest.isprintable():
        raise BadTopic(
            f"topic {bounded(text)!r} is written as in persistent://TENANT/NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC, or "
            "TOPIC alone for public/default"
        )
    return f"{domain}://{rest}"


def partitions(topic: str, count: int) -> list[str]:
    """The names of a topic's partitions; of a topic without partitions (0), its own."""
    return [f"{topic}-partition-{number}" for number in range(count)] if count else [topic]
