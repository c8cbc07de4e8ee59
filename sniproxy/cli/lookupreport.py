"""The result of ``sniproxyctl lookup``: hops, owners and warnings, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import attrs

from sniproxy.client.diagnosis import NO_DOT
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.lookups import Hop
from sniproxy.client.scalable import Layout, Segment
from sniproxy.client.topics import is_segment
from sniproxy.pulsar.serviceurl import ProxySettings
from sniproxy.tls.selection import covers
from sniproxy.util.text import bounded, counted

MAX_SEGMENTS = 256
"""Segments of a scalable topic that are looked up and shown."""

_PHASE = 10
_BESIDE = " " * (2 + _PHASE)


@attrs.define
class LookupOutcome:
    """The result of a lookup so far.

    @ivar partitions: 0 if the topic is not partitioned; None if not known.
    @ivar owners: the URL of the owner by topic, partition or segment; None if not found.
    @ivar failures: the first failure by topic, partition or segment, and of the controller.
    @ivar layout: the segments of a scalable topic; None if not known, or for other topics.
    @ivar compared: whether the brokers are compared with the routes of a configuration.
    @ivar unrouted: why TLS clients will be refused for brokers, each once.
    """

    topic: str
    settings: ProxySettings
    partitions: int | None = None
    hops: list[Hop] = attrs.Factory(list)
    owners: dict[str, str | None] = attrs.Factory(dict)
    failures: dict[str, ClientError] = attrs.Factory(dict)
    layout: Layout | None = None
    compared: bool = False
    unrouted: dict[str, None] = attrs.Factory(dict)

    @property
    def controller(self) -> str:
        """The key of the controller in C{failures}."""
        return f"the controller of {self.topic}"

    @property
    def failure(self) -> ClientError | None:
        """The first failure; None if all owners were found and connected to, and all brokers have a route."""
        for failure in self.failures.values():
            return failure
        for why in self.unrouted:
            return ClientError(FailureKind.NO_ROUTE, why)
        return None

    def warnings(self) -> list[str]:
        """Problems that did not affect this lookup, but will affect other clients or later lookups."""
        service = [host for host, _ in self.settings.service_url.hosts]
        found: dict[str, None] = {}
        for hop in self.hops:
            target, names = hop.link.target, hop.link.certificate_names
            if hop.failure is not None:
                continue
            if target.dotless:
                found[f"{target.host}: {NO_DOT}"] = None
            if target.proxied and names is not None:
                for host in service:
                    if not covered(host, names):
                        found[
                            f"{target.host}: the certificate lacks the service name {host}; "
                            "lookups that the proxy routes to this broker will fail"
                        ] = None
        if self.layout is not None and (more := len(self.layout.segments) - MAX_SEGMENTS) > 0:
            found[f"{counted(more, 'segment')} not looked up: the topic has more than {MAX_SEGMENTS}"] = None
        return list(found)


def covered(host: str, names: Sequence[str]) -> bool:
    """Whether a certificate with these names is valid for a host (RFC 9525, section 6.3)."""
    return any(covers(name.lower(), host) for name in names)


def hop_lines(hop: Hop) -> list[str]:
    """The text of one hop; the certificate is shown once for each connection."""
    link = hop.link
    name = link.target.server_name
    peer = f"SNI {name}" if name else f"no SNI for {link.host}" if link.target.tls else f"{link.host} without TLS"
    answer = {
        "partitions": "not partitioned" if not hop.partitions else counted(hop.partitions, "partition"),
        "redirect": f"redirect to {hop.url}",
        "owner": f"owner is {hop.url}",
        "connected": f"connected, {bounded(link.server_version or '')}",
        "layout": "" if hop.layout is None else _layout_answer(hop.layout),
        None: f"FAILED ({hop.failure.kind.name.lower()})" if hop.failure else "",
    }[hop.answer]
    where = link.address or link.target.dialled
    lines = [f"  {hop.phase + ' ':<{_PHASE}}{peer}, dialled {where}: {answer}, {hop.seconds * 1000:.0f} ms"]
    if hop.fresh and link.certificate_names is not None:
        lines.append(f"{_BESIDE}certificate: {', '.join(link.certificate_names) or 'no names'}")
    if hop.layout is not None:
        lines += [f"{_BESIDE}{line}" for line in _layout_lines(hop.layout)]
    return lines


def _layout_answer(layout: Layout) -> str:
    return f"{counted(len(layout.segments), 'segment')}, epoch {layout.epoch}"


def _layout_lines(layout: Layout) -> Iterator[str]:
    """The controller, and the segments with their ranges of hashes."""
    urls = [url for url in (layout.controller, layout.controller_tls) if url]
    yield f"controller {' | '.join(urls)}" if urls else "no controller yet"
    for segment in layout.segments[:MAX_SEGMENTS]:
        broker = segment.url_tls or segment.url or "no broker"
        older = "" if is_segment(segment.topic) else f"  {segment.topic}"
        yield f"segment {segment.number}  {_hashes(segment)}  {_state(segment):<6}  {broker}{older}"


def _hashes(segment: Segment) -> str:
    if segment.hash_start is None or segment.hash_end is None:
        return "no range"
    return f"{segment.hash_start:04x}-{segment.hash_end:04x}"


def _state(segment: Segment) -> str:
    return "sealed" if segment.sealed else "active"


def write_end(outcome: LookupOutcome, out: TextIO) -> None:
    """Print the owners and the warnings as text."""
    width = max((len(topic) for topic in outcome.owners), default=0)
    for topic, url in outcome.owners.items():
        failure = outcome.failures.get(topic)
        trouble = f"  FAILED ({failure.kind.name.lower()})" if failure else ""
        print(f"{topic:<{width}}  {url or '-'}{trouble}", file=out)
    for warning in outcome.warnings():
        print(f"warning: {warning}", file=out)


def write_json(outcome: LookupOutcome, out: TextIO) -> None:
    """Print the result as one JSON object with stable names; unknown values are null."""
    settings = outcome.settings
    document = {
        "topic": outcome.topic,
        "service_url": str(settings.service_url),
        "proxy": str(settings.proxy) if settings.proxy else None,
        "partitions": outcome.partitions,
        "layout": None if outcome.layout is None else _layout(outcome, outcome.layout),
        "hops": [_hop(hop) for hop in outcome.hops],
        "owners": [
            {"topic": topic, "url": url, "failure": _failure(outcome.failures.get(topic))}
            for topic, url in outcome.owners.items()
        ],
        "unrouted": list(outcome.unrouted) if outcome.compared else None,
        "warnings": outcome.warnings(),
        "failure": _failure(outcome.failure),
    }
    print(json.dumps(document, indent=1), file=out)


def _layout(outcome: LookupOutcome, layout: Layout) -> dict[str, Any]:
    controller = None
    if layout.controller or layout.controller_tls:
        failure = _failure(outcome.failures.get(outcome.controller))
        controller = {"broker_url": layout.controller, "broker_url_tls": layout.controller_tls, "failure": failure}
    return {
        "epoch": layout.epoch,
        "controller": controller,
        "segments_total": len(layout.segments),
        "segments": [
            {
                "segment_id": segment.number,
                "topic": segment.topic,
                "hash_start": segment.hash_start,
                "hash_end": segment.hash_end,
                "state": _state(segment),
                "broker_url": segment.url,
                "broker_url_tls": segment.url_tls,
            }
            for segment in layout.segments[:MAX_SEGMENTS]
        ],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    link = hop.link
    return {
        "topic": hop.topic,
        "phase": hop.phase,
        "host": link.host,
        "server_name": link.target.server_name,
        "address": link.address,
        "certificate_names": None if link.certificate_names is None else list(link.certificate_names),
        "broker_version": link.server_version,
        "new_connection": hop.fresh,
        "connect_s": _seconds(link.connect_seconds),
        "tls_s": _seconds(link.tls_seconds),
        "login_s": _seconds(link.login_seconds),
        "total_s": _seconds(hop.seconds),
        "answer": hop.answer,
        "partitions": hop.partitions,
        "url": hop.url,
        "failure": _failure(hop.failure),
    }


def _failure(failure: ClientError | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    kind = failure.kind
    return {"kind": kind.name.lower(), "status": int(kind), "reason": failure.reason, "cure": failure.cure}


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
