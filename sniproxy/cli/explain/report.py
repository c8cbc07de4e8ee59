"""What ``sniproxyctl explain`` has found: values, lines for people, JSON with stable names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.util.text import bounded, printable

MAX_NAMES = 8
"""Names of a certificate that are shown."""


@attrs.frozen
class CertificateReport:
    """A target's certificate.

    @ivar expires: as a date. @ivar days: from now until then; negative: it has expired.
    @ivar covers: the names that it must cover, and whether it does.
    """

    names: tuple[str, ...]
    expires: str
    days: float
    covers: Mapping[str, bool]


@attrs.frozen
class DialReport:
    """How a connection with a target went.

    @ivar address: whom it was with. None: nobody answered. @ivar connect_s: seconds until it stood.
    @ivar tls: the version, as in ``TLSv1.3``. None: there was no handshake.
    @ivar error: what went wrong. None: nothing.
    """

    address: str | None = None
    connect_s: float | None = None
    tls: str | None = None
    certificate: CertificateReport | None = None
    error: str | None = None


@attrs.frozen
class TargetReport:
    """A target.

    @ivar weight: as in C{sniproxy.interfaces.Target}. @ivar denied: why it may not be dialled at all. None: it may.
    @ivar addresses: what it resolves to, each with why it may not be dialled, or None.
    @ivar dialled: None: nobody was asked to.
    @ivar place: the broker's host, before it was resolved, and port.
    @ivar unresolved: why it has no addresses.
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
        """Whether there is an address that may be dialled."""
        return self.denied is None and any(why is None for why in self.addresses.values())

    def problems(self) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if self.denied is not None:
            yield f"{self.target}: denied: {self.denied}"
        elif not self.addresses:
            yield f"{self.target}: {self.unresolved}"
        elif not self.allowed:
            address, why = next(iter(self.addresses.items()))
            yield f"{self.target}: all its addresses are denied: {address}: {why}"
        if self.dialled is None:
            return
        if self.dialled.error is not None:
            yield f"{self.target}: {self.dialled.error}"
        shown = self.dialled.certificate
        if shown is not None:
            if shown.days < 0:
                yield f"{self.target}: its certificate has expired"
            missing = [name for name, covered in shown.covers.items() if not covered]
            if missing:
                yield f"{self.target}: its certificate is not for {', '.join(missing)}"


@attrs.frozen
class WatchState:
    """What a resolver that watches says of itself. @ivar error: why its last look failed. None: it did not."""

    resolver: str
    knows: str
    error: str | None

    def __str__(self) -> str:
        failed = "" if self.error is None else f"; its last look failed: {self.error}"
        return printable(f"{self.resolver}: {self.knows or 'nothing'}{failed}")


@attrs.frozen
class Report:
    """What becomes of a name on a listener.

    @ivar name: None: a hello without one; or, of ``--all``, a route that has no name of its own.
    @ivar route: None: there is none. @ivar why: this route, or none. @ivar others: others, and why not.
    @ivar resolver: who was asked. None: nobody. @ivar answered: who of them answered. None: nobody.
    @ivar passed: why those before it did not. @ivar watches: what those know that watch.
    @ivar ttl: seconds that its answer holds. None: until the configuration changes.
    @ivar refused: why the connection is refused before anybody is dialled. None: it is not.
    @ivar unchecked: why nothing is known of its targets. None: they were looked at.
    """

    name: str | None
    listener: str
    route: str | None
    why: str
    others: Sequence[tuple[str, str]] = ()
    resolver: str | None = None
    ttl: float | None = None
    goals: Sequence[TargetReport] = ()
    refused: str | None = None
    notes: Sequence[str] = ()
    answered: str | None = None
    passed: Sequence[str] = ()
    watches: Sequence[WatchState] = ()
    unchecked: str | None = None

    @property
    def problems(self) -> list[str]:
        """All that is wrong, a sentence each."""
        found = [] if self.refused is None else [self.refused]
        return found + [problem for goal in self.goals for problem in goal.problems()]

    @property
    def routed(self) -> bool | None:
        """Whether a connection would become a tunnel, as far as was looked. None: nobody has looked."""
        if self.unchecked is not None and self.refused is None:
            return None
        return self.refused is None and any(
            goal.allowed and (goal.dialled is None or goal.dialled.error is None) for goal in self.goals
        )


def document(report: Report) -> dict[str, Any]:
    """For JSON."""
    return {
        "name": report.name,
        "listener": report.listener,
        "routed": report.routed,
        "route": report.route,
        "why": report.why,
        "others": [{"route": route, "why_not": why} for route, why in report.others],
        "resolver": report.resolver,
        "answered": report.answered,
        "passed": list(report.passed),
        "watches": [attrs.asdict(watch) for watch in report.watches],
        "ttl": report.ttl,
        "targets": [attrs.asdict(goal) for goal in report.goals],
        "refused": report.refused,
        "unchecked": report.unchecked,
        "problems": report.problems,
        "notes": list(report.notes),
    }


def lines(report: Report) -> Iterator[str]:
    """For people."""
    yield f"{report.name or '(no server name)'} on listener {report.listener}"
    yield f"  route      {report.route or 'none'}: {report.why}"
    for route, why in report.others:
        yield f"  not        {route}: {why}"
    for why in report.passed:
        yield f"  passed     {printable(why)}"
    if report.answered is not None:
        holds = "until the configuration changes" if report.ttl is None else f"for {report.ttl:g} s"
        yield f"  answer     {len(report.goals)} of {report.answered}, good {holds}"
    elif report.resolver is not None:
        yield f"  asked      {report.resolver}"
    for watch in report.watches:
        yield f"  knows      {watch}"
    for goal in report.goals:
        yield from _goal_lines(goal)
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
    return "would be routed, with problems" if report.problems else "would be routed"


def summary(report: Report) -> Iterator[str]:
    """One line for people, and its problems."""
    verdict = "PROBLEM" if report.problems else "not checked" if report.routed is None else "ok"
    goals = ", ".join(goal.target for goal in report.goals) or report.unchecked or "nobody"
    yield f"{verdict:<11} {report.route or report.name or '(no server name)'} on {report.listener} -> {goals}"
    for problem in report.problems:
        yield f"            {printable(problem)}"


def _goal_lines(goal: TargetReport) -> Iterator[str]:
    weight = "" if goal.weight == 1 else f" (weight {goal.weight})"
    yield f"  target     {goal.target}{weight}"
    for address, why in goal.addresses.items():
        yield f"    address    {address}: {'allowed' if why is None else f'denied: {why}'}"
    done = goal.dialled
    if done is None or done.address is None:
        return
    assert done.connect_s is not None
    tls = "" if done.tls is None else f", {done.tls}"
    yield f"    connected  to {done.address} in {done.connect_s * 1000:.1f} ms{tls}"
    shown = done.certificate
    if shown is not None:
        more = f" and {len(shown.names) - MAX_NAMES} more" if len(shown.names) > MAX_NAMES else ""
        yield f"    certificate for {bounded(', '.join(shown.names[:MAX_NAMES]) or 'no host')}{more}"
        yield f"    expires    {shown.expires} ({shown.days:.0f} days from now)"
        for name, covered in shown.covers.items():
            yield f"    covers     {name}: {'yes' if covered else 'NO'}"
