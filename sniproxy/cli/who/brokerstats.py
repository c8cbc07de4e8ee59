"""Asks a broker's admin API who produces to a topic and consumes from it.

Source: https://pulsar.apache.org/admin-rest-api, ``getStats`` and ``getPartitionedStats``.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import attrs

from sniproxy.client.topics import full_name
from sniproxy.util.names import plain_host_port

TIMEOUT_S = 10.0
"""Timeout for an answer, in seconds."""

MAX_ANSWER_BYTES = 64 << 20
"""Largest accepted answer."""


class BrokerError(Exception):
    """The admin API gave no usable answer. The message has the reason."""


@attrs.frozen
class BrokerClient:
    """A producer or consumer of a topic.

    @ivar what: in words. @ivar address: the shortest form of its address and port; another text as the broker shows it.
    """

    what: str
    address: str


def clients_of(url: str, topic: str, token: str | None = None, trust: str | None = None) -> list[BrokerClient]:
    """The producers and consumers of a topic, or of all its partitions.

    @param url: of the admin API, as ``http://broker-1:8080``. @param token: for ``Authorization``. None: none.
    @param trust: a PEM file with the authorities for ``https://``. None: the system's.
    @raise BrokerError: there is no usable answer. @raise ValueError: the topic's name is invalid.
    """
    kind, _, rest = full_name(topic).partition("://")
    base = f"{url.rstrip('/')}/admin/v2/{kind}/{'/'.join(urllib.parse.quote(part, '') for part in rest.split('/'))}"
    try:
        stats = _document(f"{base}/stats", token, trust)
    except _NotFound:
        try:
            stats = _document(f"{base}/partitioned-stats?perPartition=true", token, trust)
        except _NotFound:
            raise BrokerError(f"the broker knows no topic {full_name(topic)}") from None
        parts = stats.get("partitions")
        if not isinstance(parts, dict):
            raise BrokerError("unexpected answer: it has no partitions") from None
        return [one for name, part in parts.items() for one in _clients(part, f" of {name.rpartition('-')[2]}")]
    return list(_clients(stats, ""))


def _clients(stats: Any, where: str) -> Iterator[BrokerClient]:
    try:
        for producer in stats.get("publishers", []):
            yield _client(f"producer {producer.get('producerName', '')}{where}", producer)
        for name, subscription in stats.get("subscriptions", {}).items():
            for consumer in subscription.get("consumers", []):
                yield _client(f"consumer {name}/{consumer.get('consumerName', '')}{where}", consumer)
    except (AttributeError, TypeError) as error:
        raise BrokerError(f"unexpected answer: {error}") from error


def _client(what: str, stats: dict[str, Any]) -> BrokerClient:
    address = stats.get("address")
    if not isinstance(address, str):
        return BrokerClient(what, "")
    return BrokerClient(what, plain_host_port(address, ends_in_port=True) or address)


class _NotFound(Exception):
    pass


def _document(url: str, token: str | None, trust: str | None) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise BrokerError("write the URL of the admin API as http://HOST:8080 or https://HOST:8443")
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    handlers: list[urllib.request.BaseHandler] = [_SameHeaders()]
    try:
        if url.startswith("https://"):
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=trust)))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
            body = answer.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise BrokerError("the answer is too large")
        document = json.loads(body)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(200).decode("latin-1").strip()
        if error.code == 404:
            raise _NotFound from error
        raise BrokerError(f"HTTP {error.code}: {text}") from error
    except (OSError, ValueError) as error:
        raise BrokerError(str(getattr(error, "reason", None) or error)) from error
    if not isinstance(document, dict):
        raise BrokerError("unexpected answer: not a JSON object")
    return document


class _SameHeaders(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the topic's broker. The token stays with hosts of the same scheme."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and req.type == "https" and found.type != "https":
            found.remove_header("Authorization")
        return found
