"""Compares an access log with what the clients saw. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from tests.chaos.load import Outcome

BEFORE_KILL_S = 5.0
"""A tunnel that ended at most so long before a kill may have no record: the worker may have been stopped meanwhile, and
writes the log's lines in batches."""

AFTER_KILL_S = 30.0
"""For so long after a kill a connection may be refused: another worker may be dead, too, and start takes time."""


def is_timeout(record: Mapping[str, Any]) -> bool:
    """Whether a tunnel was not opened for lack of time, which a line can cause."""
    late_handshake = record["result"].endswith("tls_failed") and "not completed within" in record["reason"]
    return record["result"] in ("hello_timeout", "connect_timeout") or late_handshake


@define
class Verdict:
    """What became of the tunnels of one proxy.

    ``finished``: each byte and both ends came. ``killed``: cut by the kill of a worker. ``results``: others, by the
    result in the proxy's log. ``wrong``: with wrong bytes. ``faults``: all that should not be.
    ``notes``: how tunnels ended that had no time to open.
    """

    finished: int = 0
    killed: int = 0
    results: Counter[str] = field(factory=Counter)
    faults: list[str] = field(factory=list)
    notes: list[str] = field(factory=list)
    wrong: int = 0


def judge(
    outcomes: Sequence[Outcome], records: Iterable[Mapping[str, Any]] | None, kills: Sequence[float], address: str
) -> Verdict:
    """Judge the tunnels of one proxy. ``records``: its access log; None: it has none. ``address``: the clients' own."""
    verdict = Verdict()
    by_port: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records or ():
        host, _, port = str(record["client"]).rpartition(":")
        if host == address:
            by_port[int(port)].append(record)
    uses = Counter(outcome.port for outcome in outcomes if outcome.port)
    again = {port for port, count in uses.items() if count > 1}  # the system gave a port to two clients
    for outcome in outcomes:
        own = by_port.pop(outcome.port, []) if outcome.port not in again else None
        _judge(verdict, outcome, None if records is None else own, kills)
    for other, left in by_port.items():
        if other not in again:
            verdict.faults.append(f"records of no tunnel: {left}")
    return verdict


def _judge(verdict: Verdict, outcome: Outcome, own: Sequence[Mapping[str, Any]] | None, kills: Sequence[float]) -> None:
    what = f"tunnel {outcome.number} through {outcome.door.name}"
    if outcome.wrong:
        verdict.wrong += 1
        verdict.faults.append(f"{what}: {'; '.join(outcome.wrong)}")
        return
    earliest = outcome.began if outcome.port else outcome.began - AFTER_KILL_S
    killed = any(earliest <= kill <= outcome.ended + BEFORE_KILL_S for kill in kills)
    if own is not None and len(own) > 1:
        verdict.faults.append(f"{what} has {len(own)} records: {own}")
    record = own[0] if own else None
    if outcome.finished:
        verdict.finished += 1
        if own is not None and not (record is None and killed):
            found = record and (record["result"], record["bytes_up"], record["bytes_down"])
            if found != (expected := ("ok", outcome.up, outcome.down)):
                verdict.faults.append(f"{what} finished: its record should be {expected}: {record}")
    elif record is not None and is_timeout(record):
        verdict.results[record["result"]] += 1
        verdict.notes.append(f"{what}: the client saw {outcome.faults}, its record is {record}")
    elif killed:
        verdict.killed += 1
    else:
        verdict.results[record["result"] if record else "no record" if own is not None else "cut"] += 1
        verdict.faults.append(f"{what} did not finish ({outcome.faults}), without a cause: {record}")
