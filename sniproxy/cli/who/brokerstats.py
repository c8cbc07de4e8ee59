"""Asks a broker's admin API who produces to a topic and consumes from it.

Sources: https://pulsar.apache.org/admin-rest-api, ``getStats`` and ``getPartitionedStats``; for scalable topics, of
which that page says nothing, the classes of Pulsar 5.0.1: ``broker.admin.v2.ScalableTopics`` has the paths,
``ScalableTopicStats`` and ``SegmentTopicStats`` of ``common.policies.data`` have the fields.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from sniproxy.client.topics import full_name, is_scalable
from sniproxy.pulsar.topicname import topic_of_segment
from sniproxy.util.names import plain_host_port

TIMEOUT_S = 10.0
"""Timeout for an answer, in seconds."""

MAX_ANSWER_BYTES = 64 << 20
"""Largest accepted answer."""


_Get = Callable[[str], dict[str, Any]]
_SCALABLE = ("topic://", "segment://")


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
    """The producers and consumers of a topic, or of all its partitions or segments.

    @param url: of the admin API, as ``http://broker-1:8080``. @param token: for ``Authorization``. None: none.
    @param trust: a PEM file with the authorities for ``https://``. None: the system's.
    @raise BrokerError: there is no usable answer. @raise ValueError: the topic's name is invalid.
    """
    name = full_name(topic)
    get = partial(_document, token=token, trust=trust)
    try:
        parent = topic_of_segment(name)
        if parent is not None:
            return _of_segment(get, _base(url, "scalable", parent), name.rpartition("-")[2])
        if is_scalable(name):
            return _of_scalable(get, _base(url, "scalable", name))
        return _of_topic(get, _base(url, name.partition("://")[0], name))
    except _NotFound:
        why = "; only brokers of Pulsar 5.0 and newer have scalable topics" if name.startswith(_SCALABLE) else ""
        raise BrokerError(f"the broker knows no topic {name}{why}") from None


def _base(url: str, kind: str, name: str) -> str:
    path = "/".join(urllib.parse.quote(part, "") for part in name.partition("://")[2].split("/"))
    return f"{url.rstrip('/')}/admin/v2/{kind}/{path}"


def _of_topic(get: _Get, base: str) -> list[BrokerClient]:
    try:
        return list(_clients(get(f"{base}/stats"), ""))
    except _NotFound:
        parts = get(f"{base}/partitioned-stats?perPartition=true").get("partitions")
    if not isinstance(parts, dict):
        raise BrokerError("unexpected answer: it has no partitions")
    return [one for name, part in parts.items() for one in _clients(part, f" of {name.rpartition('-')[2]}")]


def _of_scalable(get: _Get, base: str) -> list[BrokerClient]:
    """The clients of all segments. The topic's own stats have one address of a client, and a client may have several
    connections, because brokers share the segments."""
    layout = get(f"{base}/stats").get("layout")
    segments = layout.get("segments") if isinstance(layout, dict) else None
    if not isinstance(segments, dict):
        raise BrokerError("unexpected answer: it has no segments")
    found: list[BrokerClient] = []
    for segment in segments:
        with contextlib.suppress(_NotFound):  # it was removed since
            found += _of_segment(get, base, segment)
    return found


def _of_segment(get: _Get, base: str, segment: str) -> list[BrokerClient]:
    stats = get(f"{base}/segments/{urllib.parse.quote(segment, '')}/stats")
    return list(_clients(stats, f" of segment {segment}", "producers"))


def _clients(stats: Any, where: str, producers: str = "publishers") -> Iterator[BrokerClient]:
    """@param where: follows the client's name. @param producers: the field that has them."""
    try:
        for producer in stats.get(producers, []):
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
