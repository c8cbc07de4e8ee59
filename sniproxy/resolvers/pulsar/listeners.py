"""Reads the listeners of a broker: C{advertisedListeners} and C{bindAddresses} (PIP-61, PIP-95). Pure."""

from __future__ import annotations

from itertools import islice

import attrs

from sniproxy.pulsar.serviceurl import PLAIN_PORT, TLS_PORT, BadServiceURL, host_and_port
from sniproxy.util.text import bounded

MAX_URLS = 64
"""URLs of one broker that are read. Further ones are skipped with a note."""

MAX_LISTENER_CHARS = 100
"""Characters of a listener's name."""


@attrs.frozen
class BrokerProtocol:
    """One of the two protocols that brokers speak, and where their ports and URLs are found.

    @ivar plain: the scheme without TLS, and its default port. @ivar tls: the same with TLS.
    @ivar ports: keys of a configuration: the plaintext port and the TLS port.
    @ivar listener_keys: keys of a listener in a node: the TLS URL and the plaintext URL. @ivar node_keys: the same of
        the node itself.
    """

    plain: tuple[str, int]
    tls: tuple[str, int]
    ports: tuple[str, str]
    listener_keys: tuple[str, str]
    node_keys: tuple[str, str]


BINARY = BrokerProtocol(
    ("pulsar", PLAIN_PORT),
    ("pulsar+ssl", TLS_PORT),
    ("brokerServicePort", "brokerServicePortTls"),
    ("brokerServiceUrlTls", "brokerServiceUrl"),
    ("pulsarServiceUrlTls", "pulsarServiceUrl"),
)
"""The binary protocol."""

HTTPS = BrokerProtocol(
    ("http", 80),
    ("https", 443),
    ("webServicePort", "webServicePortTls"),
    ("brokerHttpsUrl", "brokerHttpUrl"),
    ("webServiceUrlTls", "webServiceUrl"),
)
"""The admin API and lookups by HTTP. Listeners have its URLs from Pulsar 4.2 on."""

PROTOCOLS = {"pulsar": BINARY, "https": HTTPS}
"""By the option C{protocol}."""


@attrs.frozen
class ListenerURL:
    """A URL of a listener.

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


def parse_listeners(text: str, protocol: BrokerProtocol = BINARY) -> Listeners:
    """Read ``external:pulsar+ssl://broker-1.example.com:6651, internal:pulsar://10.0.0.1:6650``.

    URLs of the other protocol are skipped; invalid ones, and those of a protocol handler, such as
    ``kafka:SASL_SSL://...``, are skipped with a note.
    """
    pairs = []
    notes = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, colon, url = part.partition(":")
        if colon and "://" in url:
            pairs.append((name.strip(), url.strip()))
        else:
            notes.append(f"invalid listener {bounded(part)!r}: write NAME:SCHEME://HOST:PORT")
    found = read_urls(pairs, protocol)
    return Listeners(found.urls, (*notes[:MAX_URLS], *found.notes), bool(notes) or found.invalid)


def read_urls(pairs: list[tuple[str, str]], protocol: BrokerProtocol = BINARY) -> Listeners:
    """Read pairs of a listener's name and its URL."""
    urls = []
    invalid = False
    ports = dict((protocol.plain, protocol.tls))
    others = {scheme for one in PROTOCOLS.values() for scheme, _ in (one.plain, one.tls)}
    notes = [f"{len(pairs) - MAX_URLS} listeners beyond {MAX_URLS} skipped"] if len(pairs) > MAX_URLS else []
    for name, url in islice(pairs, MAX_URLS):
        scheme, _, authority = url.partition("://")
        scheme = scheme.lower()
        if len(name) > MAX_LISTENER_CHARS:
            notes.append(f"listener {bounded(name, MAX_LISTENER_CHARS)!r} skipped: its name is too long")
            invalid = True
            continue
        if scheme not in ports:
            if scheme in others:
                continue
            notes.append(f"listener {bounded(name)!r} skipped: scheme {bounded(scheme)!r} is not Pulsar's")
            continue
        try:
            host, port = host_and_port(authority.removesuffix("/"), f"listener {bounded(name)!r}")
        except BadServiceURL as error:
            notes.append(str(error))
            invalid = True
            continue
        urls.append(ListenerURL(name, host, ports[scheme] if port is None else port, scheme == protocol.tls[0]))
    return Listeners(tuple(urls), tuple(notes), invalid)
