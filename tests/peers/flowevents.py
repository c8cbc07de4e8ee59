"""The events of a run with a fault, and what follows from them. Pure.

A client prints an event a line, as JSON: `at`, seconds of the monotonic clock, and `what`:

* `consumer`, `producer`, `send`, `close`: a call has returned after `seconds`. `error`: its exception; empty: it
  succeeded. `n`: the number of the message, from 1.
* `message`: it has received message `n`. `receive`: receiving or acknowledging failed with `error`.
* `again`: from here on it has a new consumer of the same subscription. `end`: it is done.

The run adds `fault` (the proxy applied the fault for the first time), and what the broker received: `CONNECT`,
`PRODUCER`, `SUBSCRIBE`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from tests.peers.flowfacts import Fact

SLOW_S = 1.0
"""A send behind the fault that takes more seconds is a fact. The first of all is none: a JVM is slow then."""

MAX_ERROR_CHARACTERS = 60

_CALLS = {"consumer": "`subscribe`", "producer": "creating the producer"}


@frozen
class Event:
    """An event; see above. `at`: seconds."""

    at: float
    what: str
    n: int = 0
    seconds: float = 0.0
    error: str = ""


def read_events(lines: Iterable[str]) -> list[Event]:
    """The events among the lines of a client's output."""
    found = []
    for line in lines:
        if line.startswith('{"at"'):
            fields = json.loads(line)
            # Errors come from peers, and go into a table.
            error = re.sub(r"[^\w .:-]", "", fields.get("error", ""))[:MAX_ERROR_CHARACTERS]
            found.append(Event(fields["at"], fields["what"], fields.get("n", 0), fields.get("seconds", 0.0), error))
    return found


def derive(events: Sequence[Event], stored: Mapping[int, int], count: int) -> list[Fact]:
    """What a client did. `stored`: how often the broker has each message; `count`: the messages to send."""
    events = sorted(events, key=lambda event: event.at)
    ended = any(event.what == "end" for event in events)
    again_at = next((event.at for event in events if event.what == "again"), float("inf"))
    before = [event for event in events if event.at < again_at]
    calls = [event for event in before if event.what in ("consumer", "producer", "send")]
    failed = any(event.error for event in calls)
    facts = [] if failed else [Fact("no call fails")]
    fault_at = next((event.at for event in events if event.what == "fault"), float("inf"))
    for what in _CALLS:
        facts += _opening(what, [event for event in calls if event.what == what], fault_at)
    sends = [event for event in calls if event.what == "send"]
    facts += _sending(sends, fault_at)
    facts += _recovery(before, fault_at, sends)
    facts += _storing(calls, stored)
    facts += _delivery(events, again_at, stored)
    if not ended:
        facts.append(Fact("the program hangs"))
    elif any(event.what == "producer" and not event.error for event in calls) and (
        not sends or sends[-1].error or sends[-1].n < count
    ):
        facts.append(Fact("sends fail until the end"))
    return facts


def _opening(what: str, calls: Sequence[Event], fault_at: float) -> list[Fact]:
    def seconds_of(call: Event) -> float:
        # A JVM starts slowly: its first call takes seconds before the fault.
        return call.at - fault_at if is_hit(call) else call.seconds

    def is_hit(call: Event) -> bool:
        return call.at - call.seconds < fault_at < call.at

    facts = []
    failures = [call for call in calls if call.error]
    for error in dict.fromkeys(call.error for call in failures):
        same = [call for call in failures if call.error == error]
        text = f"{_CALLS[what]} fails {{0:after}} {{1:times}}: `{error}`"
        facts.append(Fact(text, tuple(map(seconds_of, same)), (len(same),)))
    if failures and len(failures) == len(calls):
        facts.append(Fact(f"{_CALLS[what]} never succeeds"))
    hit = tuple(seconds_of(call) for call in calls if not call.error and is_hit(call))
    return [*facts, Fact(f"{_CALLS[what]} succeeds {{0:after}}", hit)] if hit else facts


def _sending(sends: Sequence[Event], fault_at: float) -> list[Fact]:
    facts = []
    groups: list[list[Event]] = []
    for send in sends:
        if send.error and groups and groups[-1][-1].n == send.n - 1 and groups[-1][-1].error == send.error:
            groups[-1].append(send)
        elif send.error:
            groups.append([send])
    for group in groups:
        first, last, seconds = group[0], group[-1], tuple(send.seconds for send in group)
        if first is last:
            facts.append(Fact(f"send {{0}} fails {{1:after}}: `{first.error}`", (first.n,), seconds))
        else:
            text = f"sends {{0}} to {{1}} fail {{2:after}}: `{first.error}`"
            facts.append(Fact(text, (first.n,), (last.n,), seconds))
    facts += [
        Fact("send {0} takes {1:s}", (send.n,), (send.seconds,))
        for send in sends
        if not send.error and send.seconds > SLOW_S and sends[0].at < fault_at < send.at
    ]
    return facts


def _recovery(events: Sequence[Event], fault_at: float, sends: Sequence[Event]) -> list[Fact]:
    # A client may react before the proxy's line on the fault is read. From the first send on, all is open.
    start = sends[0].at if sends and sends[0].at < fault_at else fault_at
    later = [event for event in events if event.at > start]

    def after(what: str) -> list[Fact]:
        found = next((max(0.0, event.at - fault_at) for event in later if event.what == what), None)
        words = {"CONNECT": "connects again", "PRODUCER": "opens the producer again", "SUBSCRIBE": "subscribes again"}
        return [] if found is None else [Fact(f"{words[what]} {{0:after}}", (found,))]

    if connected := after("CONNECT"):
        return connected
    opened = {event.what for event in events if event.at <= start and not event.error}
    facts = after("PRODUCER") if "producer" in opened else []
    return facts + (after("SUBSCRIBE") if "consumer" in opened else [])


def _storing(calls: Sequence[Event], stored: Mapping[int, int]) -> list[Fact]:
    sent = {call.n: call.error for call in calls if call.what == "send"}
    groups = {
        "failed, but stored: {0:messages}": [n for n, error in sent.items() if error and stored.get(n)],
        "failed, and not stored: {0:messages}": [n for n, error in sent.items() if error and not stored.get(n)],
        "acknowledged, but lost: {0:messages}": [n for n, error in sent.items() if not error and not stored.get(n)],
        "stored twice: {0:messages}": [n for n, times in stored.items() if times > 1],
    }
    return [Fact(text, (len(numbers),)) for text, numbers in groups.items() if numbers]


def _delivery(events: Sequence[Event], again_at: float, stored: Mapping[int, int]) -> list[Fact]:
    received = [(event.n, event.at) for event in events if event.what == "message"]
    times = Counter(n for n, _ in received)
    first = list(dict.fromkeys(n for n, at in received if at < again_at))
    groups = {
        "redelivered: {0:messages}": [n for n, count in times.items() if count > stored.get(n, 0) > 0],
        "delivered only to a new consumer: {0:messages}": [n for n in times if n not in first],
        "never delivered: {0:messages}": [n for n in stored if n not in times],
    }
    facts = [Fact(text, (len(numbers),)) for text, numbers in groups.items() if numbers]
    if first != sorted(first):
        facts.append(Fact("delivered out of order"))
    errors = dict.fromkeys(event.error for event in events if event.what == "receive")
    return facts + [Fact(f"receiving or acknowledging fails: `{error}`") for error in errors]
