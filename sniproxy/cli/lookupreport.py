"""The result of ``sniproxyctl lookup``: hops, owners and warnings, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

import attrs

from sniproxy.client.diagnosis import NO_DOT
from sniproxy.client.failures import ClientError
from sniproxy.client.lookups import Hop
from sniproxy.pulsar.serviceurl import ProxySettings
from sniproxy.tls.selection import covers
from sniproxy.util.text import bounded, counted

_PHASE = 10
_BESIDE = " " * (2 + _PHASE)


@attrs.define
class LookupOutcome:
    """The result of a lookup so far.

    @ivar partitions: 0 if the topic is not partitioned; None if not known.
    @ivar owners: the URL of the owner by topic or partition; None if not found.
    @ivar failures: the first failure by topic or partition.
    """

    topic: str
    settings: ProxySettings
    partitions: int | None = None
    hops: list[Hop] = attrs.Factory(list)
    owners: dict[str, str | None] = attrs.Factory(dict)
    failures: dict[str, ClientError] = attrs.Factory(dict)

    @property
    def failure(self) -> ClientError | None:
        """The first failure; None if all owners were found and connected to."""
        return next(iter(self.failures.values()), None)

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
        None: f"FAILED ({hop.failure.kind.name.lower()})" if hop.failure else "",
    }[hop.answer]
    where = link.address or link.target.dialled
    lines = [f"  {hop.phase:<{_PHASE}}{peer}, dialled {where}: {answer}, {hop.seconds * 1000:.0f} ms"]
    if hop.fresh and link.certificate_names is not None:
        lines.append(f"{_BESIDE}certificate: {', '.join(link.certificate_names) or 'no names'}")
    return lines


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
        "hops": [_hop(hop) for hop in outcome.hops],
        "owners": [
            {"topic": topic, "url": url, "failure": _failure(outcome.failures.get(topic))}
            for topic, url in outcome.owners.items()
        ],
        "warnings": outcome.warnings(),
        "failure": _failure(outcome.failure),
    }
    print(json.dumps(document, indent=1), file=out)


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
