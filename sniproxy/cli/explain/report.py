"""The report of ``sniproxyctl explain``: values, text, and JSON with stable names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.util.text import bounded, counted, printable

MAX_NAMES = 8
"""Maximum of certificate names in the text."""


@attrs.frozen
class CertificateReport:
    """The certificate of a target.

    @ivar expires: the date of expiry. @ivar days: days until then; negative if the certificate has expired.
    @ivar covers: each name that it must cover, and whether it does.
    """

    names: tuple[str, ...]
    expires: str
    days: float
    covers: Mapping[str, bool]


@attrs.frozen
class DialReport:
    """The result of a connection to a target.

    @ivar address: the peer address; None if no connection was made. @ivar connect_s: seconds to connect.
    @ivar tls: the TLS version, such as ``TLSv1.3``; None if the handshake failed.
    @ivar error: the error; None on success.
    """

    address: str | None = None
    connect_s: float | None = None
    tls: str | None = None
    certificate: CertificateReport | None = None
    error: str | None = None


@attrs.frozen
class TargetReport:
    """A target, the policy's verdict on it and, with C{--connect}, the result of a connection.

    @ivar weight: as in C{sniproxy.interfaces.Target}. @ivar denied: why the policy denies the target; None if it does
        not. @ivar addresses: the resolved addresses, each with the reason why the policy denies it, or None.
    @ivar dialled: None if the target was not dialled.
    @ivar place: the host of the broker, before resolution, and its port.
    @ivar unresolved: why the target has no addresses.
    """

    target: str
    weight: int
    denied: str | None
    addresses: Mapping[str, str | None]
    dialled: DialReport | None = None
    place: str = ""
    unresolved: str = "the name has no address"

    @property
    def allowed(self) -> bool:
        """Whether the policy allows at least one address."""
        return self.denied is None and any(why is None for why in self.addresses.values())

    def problems(self) -> Iterator[str]:
        """The problems of the target, one sentence each."""
        if self.denied is not None:
            yield f"{self.target}: denied: {self.denied}"
        elif not self.addresses:
            yield f"{self.target}: {self.unresolved}"
        elif not self.allowed:
            address, why = next(iter(self.addresses.items()))
            yield f"{self.target}: all addresses are denied: {address}: {why}"
        if self.dialled is None:
            return
        if self.dialled.error is not None:
            yield f"{self.target}: {self.dialled.error}"
        certificate = self.dialled.certificate
        if certificate is not None:
            if certificate.days < 0:
                yield f"{self.target}: the certificate has expired"
            missing = [name for name, covered in certificate.covers.items() if not covered]
            if missing:
                yield f"{self.target}: the certificate does not cover {', '.join(missing)}"


@attrs.frozen
class WatchReport:
    """The state of a resolver that watches its source.

    @ivar knows: what it currently knows. @ivar error: why the last refresh failed; None if it succeeded.
    """

    resolver: str
    knows: str
    error: str | None

    def __str__(self) -> str:
        failed = "" if self.error is None else f"; last refresh failed: {self.error}"
        return printable(f"{self.resolver}: {self.knows or 'nothing'}{failed}")


@attrs.frozen
class Report:
    """What happens to a server name on a listener.

    @ivar name: None for a ClientHello without a server name and, with ``--all``, for a route that is no exact name.
    @ivar route: None if no route matches. @ivar why: the reason. @ivar others: other routes, and why each is not used.
    @ivar resolver: the resolvers queried; None if none was. @ivar answered: the resolver that answered; None if none
        did. @ivar passed: why the resolvers before it did not answer. @ivar watches: the states of those that watch.
    @ivar known_as: what a resolver that watches knows the name as, such as a broker and its listener; often empty.
    @ivar ttl: seconds for which the answer is valid; None: until the configuration changes.
    @ivar refused: why the connection is refused before a dial; None if it is not.
    @ivar only_from: the clients that the route is for. None: all.
    @ivar send_proxy: the PROXY protocol header that targets get. None: none.
    @ivar target_source: ``client``: targets are dialled from the client's address. None: from the proxy's.
    @ivar client_unchecked: the client decides, through C{only_from} or C{target_source}, and no client was given.
    @ivar unchecked: why the targets were not checked; None if they were.
    """

    name: str | None
    listener: str
    route: str | None
    why: str
    others: Sequence[tuple[str, str]] = ()
    resolver: str | None = None
    ttl: float | None = None
    targets: Sequence[TargetReport] = ()
    refused: str | None = None
    notes: Sequence[str] = ()
    answered: str | None = None
    passed: Sequence[str] = ()
    watches: Sequence[WatchReport] = ()
    unchecked: str | None = None
    known_as: str = ""
    only_from: str | None = None
    send_proxy: str | None = None
    target_source: str | None = None
    client_unchecked: bool = False

    @property
    def problems(self) -> list[str]:
        """All problems, one sentence each."""
        found = [] if self.refused is None else [self.refused]
        return found + [problem for target in self.targets for problem in target.problems()]

    @property
    def routed(self) -> bool | None:
        """Whether a connection would become a tunnel; None if that was not checked."""
        if self.unchecked is not None and self.refused is None:
            return None
        return self.refused is None and any(
            target.allowed and (target.dialled is None or target.dialled.error is None) for target in self.targets
        )


def document(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "name": report.name,
        "listener": report.listener,
        "routed": report.routed,
        "route": report.route,
        "why": report.why,
        "others": [{"route": route, "why_not": why} for route, why in report.others],
        "only_from": report.only_from,
        "send_proxy": report.send_proxy,
        "target_source": report.target_source,
        "resolver": report.resolver,
        "answered": report.answered,
        "passed": list(report.passed),
        "known_as": report.known_as,
        "watches": [attrs.asdict(watch) for watch in report.watches],
        "ttl": report.ttl,
        "targets": [attrs.asdict(target) for target in report.targets],
        "refused": report.refused,
        "unchecked": report.unchecked,
        "problems": report.problems,
        "notes": list(report.notes),
    }


def lines(report: Report) -> Iterator[str]:
    """The report as text."""
    yield f"{report.name or '(no server name)'} on listener {report.listener}"
    yield f"  route      {report.route or 'none'}: {report.why}"
    for route, why in report.others:
        yield f"  not chosen {route}: {why}"
    if report.only_from is not None:
        yield f"  only from  {report.only_from}"
    if report.send_proxy is not None:
        yield f"  header     PROXY protocol {report.send_proxy}"
    if report.target_source is not None:
        yield "  source     targets are dialled from the client's address"
    for why in report.passed:
        yield f"  tried      {printable(why)}"
    if report.answered is not None:
        valid = "until the configuration changes" if report.ttl is None else f"for {report.ttl:g} s"
        yield f"  answer     {counted(len(report.targets), 'target')} from {report.answered}, valid {valid}"
    elif report.resolver is not None:
        yield f"  queried    {report.resolver}"
    if report.known_as:
        yield f"  name of    {printable(report.known_as)}"
    for watch in report.watches:
        yield f"  state      {watch}"
    for target in report.targets:
        yield from _target_lines(target)
    for note in report.notes:
        yield f"  note       {note}"
    for problem in report.problems:
        yield f"  PROBLEM    {printable(problem)}"
    yield f"  {_verdict(report)}"


def _verdict(report: Report) -> str:
    if report.routed is None:
        return f"NOT CHECKED: {report.unchecked}"
    if not report.routed:
        return "REFUSED"
    routed = "would be routed, with problems" if report.problems else "would be routed"
    if report.client_unchecked:
        which = "with an address that reaches the targets" if report.only_from is None else "that only_from lists"
        return f"{routed}, for the clients {which} (--client ADDRESS checks one)"
    return routed


def summary(report: Report) -> Iterator[str]:
    """The report as one line, followed by its problems."""
    verdict = "PROBLEM" if report.problems else "not checked" if report.routed is None else "ok"
    targets = ", ".join(one.target for one in report.targets) or report.unchecked or "no target"
    yield f"{verdict:<11} {report.route or report.name or '(no server name)'} on {report.listener} -> {targets}"
    for problem in report.problems:
        yield f"            {printable(problem)}"


def _target_lines(target: TargetReport) -> Iterator[str]:
    weight = "" if target.weight == 1 else f" (weight {target.weight})"
    yield f"  target     {target.target}{weight}"
    for address, why in target.addresses.items():
        yield f"    address    {address}: {'allowed' if why is None else f'denied: {why}'}"
    done = target.dialled
    if done is None or done.address is None:
        return
    assert done.connect_s is not None
    tls = "" if done.tls is None else f", {done.tls}"
    yield f"    connected  to {done.address} in {done.connect_s * 1000:.1f} ms{tls}"
    certificate = done.certificate
    if certificate is not None:
        more = f" and {len(certificate.names) - MAX_NAMES} more" if len(certificate.names) > MAX_NAMES else ""
        yield f"    certificate for {bounded(', '.join(certificate.names[:MAX_NAMES]) or 'no host')}{more}"
        yield f"    expires    {certificate.expires} ({certificate.days:.0f} days from now)"
        for name, covered in certificate.covers.items():
            yield f"    covers     {name}: {'yes' if covered else 'NO'}"
