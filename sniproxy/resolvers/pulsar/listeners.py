"""Reads the listeners of a broker: C{advertisedListeners} and C{bindAddresses} (PIP-61, PIP-95). Pure."""

from __future__ import annotations

from itertools import islice

import attrs

from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.text import bounded

MAX_URLS = 64
"""URLs of one broker that are read. Further ones are skipped with a note."""

MAX_LISTENER_CHARS = 100
"""Characters of a listener's name."""

PULSAR_SCHEMES = ("pulsar", "pulsar+ssl")

HTTP_SCHEMES = ("http", "https")
"""Schemes of the admin API, which Pulsar 5 allows in a listener. Their hosts are no names of the binary protocol."""


@attrs.frozen
class ListenerURL:
    """A URL of the binary protocol.

    @ivar listener: the listener's name. Empty: the broker's own address, which has no listener.
    @ivar host: normalised. @ivar port: None: unknown.
    """

    listener: str
    host: str
    port: int | None
    tls: bool


@attrs.frozen
class Listeners:
    """What was read.

    @ivar urls: in the order of the source. @ivar notes: what was skipped, and why.
    @ivar invalid: whether a listener was skipped because its text is invalid, not because of its protocol.
    """

    urls: tuple[ListenerURL, ...]
    notes: tuple[str, ...] = ()
    invalid: bool = False


def parse_listeners(text: str) -> Listeners:
    """Read ``external:pulsar+ssl://broker-1.example.com:6651, internal:pulsar://10.0.0.1:6650``.

    URLs of other protocols, such as a protocol handler's ``kafka:SASL_SSL://...``, and invalid ones are skipped.
    """
    pairs = []
    notes = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, colon, url = part.partition(":")
        if colon and "://" in url:
            pairs.append((name.strip(), url.strip()))
        else:
            notes.append(f"invalid listener {bounded(part)!r}: write NAME:SCHEME://HOST:PORT")
    found = read_urls(pairs)
    return Listeners(found.urls, (*notes[:MAX_URLS], *found.notes), bool(notes) or found.invalid)


def read_urls(pairs: list[tuple[str, str]]) -> Listeners:
    """Read pairs of a listener's name and its URL."""
    urls = []
    invalid = False
    notes = [f"{len(pairs) - MAX_URLS} listeners beyond {MAX_URLS} skipped"] if len(pairs) > MAX_URLS else []
    for name, url in islice(pairs, MAX_URLS):
        scheme = url.partition("://")[0].lower()
        if len(name) > MAX_LISTENER_CHARS:
            notes.append(f"listener {bounded(name, MAX_LISTENER_CHARS)!r} skipped: its name is too long")
            invalid = True
            continue
        if scheme in HTTP_SCHEMES:
            continue
        if scheme not in PULSAR_SCHEMES:
            notes.append(f"listener {bounded(name)!r} skipped: scheme {bounded(scheme)!r} is not Pulsar's")
            continue
        try:
            parsed = parse_service_url(url, f"listener {bounded(name)!r}")
        except BadServiceURL as error:
            notes.append(str(error))
            invalid = True
            continue
        host, port = parsed.hosts[0]
        urls.append(ListenerURL(name, host, port, parsed.tls))
    return Listeners(tuple(urls), tuple(notes), invalid)
