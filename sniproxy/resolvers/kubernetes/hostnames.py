"""Hostnames of listeners and routes: exact, or C{*.} and a name, which stands for one or more labels. Pure."""

from __future__ import annotations

from sniproxy.util.names import BadName, ip_literal, pattern

ANY = "*"
"""The hostname of a route that stands for all names. The API accepts no such text."""


def hostname(text: str) -> str | None:
    """The normalised hostname. None: it is invalid, or an IP address."""
    try:
        found = pattern(text)
    except BadName:
        return None
    return None if ip_literal(found) is not None else found


def intersection(listener: str | None, route: str) -> str | None:
    """The names that both stand for, as one hostname. None: there are none. @param listener: None: all names."""
    if listener is None or listener == route:
        return route
    if matches(listener, route):
        return route
    return listener if matches(route, listener) else None


def matches(wide: str, narrow: str) -> bool:
    """Whether a wildcard stands for all names of another hostname, or is the same."""
    if not wide.startswith("*."):
        return wide == narrow
    return narrow.endswith(wide[1:]) and narrow != wide[1:]


def specificity(host: str | None) -> tuple[bool, int]:
    """For the order of hostnames that stand for one name; the greatest is the most specific one.

    @param host: None or L{ANY}: all names.
    """
    return (False, 0) if host in (None, ANY) else (not host.startswith("*."), len(host))


def wildcards(name: str) -> list[str]:
    """The wildcards that stand for a name, the most specific one first."""
    labels = name.split(".")
    return ["*." + ".".join(labels[number:]) for number in range(1, len(labels))]
