"""Targets for what reads the bytes of clients and brokers in tunnels with faults on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from fuzz.inputs import talk
from sniproxy.config.faultcommands import COMMANDS
from sniproxy.config.faults import ACTIONS, make_fault
from sniproxy.config.schema import FaultEntry
from sniproxy.faults.active import ActiveFaults
from sniproxy.faults.gate import MAX_INSERTED_BYTES, Gate
from sniproxy.faults.reader import MAX_COMMAND_BYTES, MAX_FRAME_BYTES
from sniproxy.faults.rules import FaultRule
from sniproxy.faults.tunnel import TunnelFaults
from sniproxy.interfaces import BadValue
from sniproxy.pulsar.frames import FrameReader

NEVER = 10**9
"""A number of matches that no input has."""

NEEDED = {
    "delay": {"seconds": 1.0},
    "rate": {"rate": 100.0},
    "redirect": {"url": "pulsar://a.test:6650"},
    "error": {"error": "ServiceNotReady"},
    "migrate": {"url": "pulsar+ssl://a.test:6651"},
}
"""The keys that an action needs."""

INSIDE = ("cut", "half_close", "reset", "stop")
"""Actions that may end a direction inside a frame."""


@cache
def applying(action: str) -> tuple[FaultRule, ...]:
    """Faults with this action that always apply."""
    return tuple(rules_of(action, None))


def rules_of(action: str, nth: int | None, topic: str | None = None) -> Iterator[FaultRule]:
    """A fault with this action for each command that can have it."""
    for command in COMMANDS:
        for side in ("client", "broker"):
            entry = FaultEntry(action, on=command, sender=side, nth=nth, topic=topic, **NEEDED.get(action, {}))  # type: ignore[arg-type]
            try:
                yield FaultRule(make_fault(entry, {"public": True}, ()))
            except BadValue:  # the command cannot have it
                pass


def tunnel(rules: Sequence[FaultRule]) -> tuple[ActiveFaults, TunnelFaults]:
    """A tunnel with these faults."""
    active = ActiveFaults()
    active.rules[:] = rules
    return active, TunnelFaults(active, "public", "a.test", True, lambda rule, what: None)


SILENT = [*rules_of("drop", NEVER), *rules_of("drop", None, "persistent://no/such/topic")]
MARKS = [FaultRule(make_fault(FaultEntry("cut", after_bytes=at), {"public": True}, ())) for at in (0, 1, 100, 101)]


def silent(data: bytes) -> None:
    """Whatever comes in whatever pieces, a tunnel whose faults do not apply gives it out unchanged."""
    size, said = talk(data)
    active, faults = tunnel([*SILENT, *MARKS])
    active.rules[:] = SILENT  # the marks are still there, and decide nothing
    came, passed = {True: b"", False: b""}, {True: b"", False: b""}
    for by_client, whole in said:
        gate = faults.up if by_client else faults.down
        for at in range(0, len(whole), size):
            came[by_client] += whole[at : at + size]
            passed[by_client] += gate.take(whole[at : at + size], 0.0)
            assert gate.held <= MAX_COMMAND_BYTES + size + 8, gate.held
            assert not gate.closed and not gate.ends
            assert came[by_client].startswith(passed[by_client])
    for gate in (faults.up, faults.down):
        assert passed[gate.by_client] + gate.rest() == came[gate.by_client]


def faulty(data: bytes) -> None:
    """Faults that apply raise nothing, hold little, and insert whole frames between whole frames."""
    action = ACTIONS[data[0] % len(ACTIONS)] if data else "drop"
    size, said = talk(data[1:])
    _, faults = tunnel(applying(action))
    readers = {faults.up: FrameReader(MAX_FRAME_BYTES), faults.down: FrameReader(MAX_FRAME_BYTES)}
    now = 0.0

    def check(gate: Gate, passed: bytes) -> None:
        if not gate.lost and action not in INSIDE:
            readers[gate].feed(passed)  # raises FrameError if it is not a sequence of frames
        longest = max((len(whole) for _, whole in said), default=0)
        assert gate.held <= 2 * MAX_INSERTED_BYTES + longest + size, gate.held

    for by_client, whole in said:
        gate, other = (faults.up, faults.down) if by_client else (faults.down, faults.up)
        for at in range(0, len(whole), size):
            for _ in range(100):
                now += 10.0
                for each in (gate, other):
                    check(each, each.run(now))
                if not (gate.closed or other.full):
                    break
            else:
                assert gate.wake_at is None or gate.limited
                break
            check(gate, gate.take(whole[at : at + size], now))
    for each in (faults.up, faults.down):
        check(each, each.rest() if not each.closed else b"")
