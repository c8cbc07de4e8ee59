"""What happens in a world: everything is drawn from the seed, before it runs, as a list that can be made shorter.

Each part has random numbers of its own, so that the rest of a plan is unchanged when a part is removed.
"""

from __future__ import annotations

from random import Random
from typing import Any

import attrs

from tests.simulation.faults import KINDS, Fault

TARGETS = tuple(f"10.1.0.{number}" for number in range(1, 6))
OF_LATE_ANSWERS = "10.1.0.99"
"""The address in a resolver's answers to queries that were cancelled before. No connection may lead there."""
PORT = 6651

Step = tuple[Any, ...]
"""C{("send", bytes)}, C{("wait", seconds)}, C{("fin",)}, C{("close",)}, C{("reset",)}, C{("vanish",)}."""

ACTS = {
    "reload": "the configuration is reloaded",
    "reload beside": "the configuration is reloaded beside the traffic",
    "bad reload": "a configuration with an error is reloaded",
    "drain": "a target or route is drained",
    "undrain": "the drain is undone",
    "move": "the tunnels move to a new process, in part",
    "wall clock": "the time of day jumps",
    "source changed": "the resolver's source reports a change",
    "stop": "the proxy stops",
    "end now": "the proxy ends all connections now",
}


@attrs.frozen
class Client:
    """One client connection, and what its target does once the tunnel is open.

    @ivar name: the server name. None: none is sent. @ivar hello: ``whole``, or what is wrong with it.
    @ivar pieces: sizes and pauses with which the hello is sent; the rest follows at once.
    @ivar chunk: bytes of a read. @ivar pause: seconds between reads. 0: it reads at once.
    """

    number: int
    at: float
    address: str
    listener: str
    name: str | None
    hello: str
    pieces: tuple[tuple[int, float], ...]
    steps: tuple[Step, ...]
    target_steps: tuple[Step, ...]
    chunk: int
    pause: float
    target_chunk: int
    target_pause: float

    def __str__(self) -> str:
        where = f"server name {self.name}" if self.listener == "tls" else "plaintext"
        ends = [step[0] for step in self.steps + self.target_steps if step[0] in ("reset", "vanish", "close")]
        return f"client {self.number} at {self.at:.2f} s: {where}, hello {self.hello}; {', '.join(ends) or 'no fault'}"


@attrs.frozen
class Act:
    """What an operator, or the system, does to the proxy. @ivar value: depends on the kind."""

    kind: str
    at: float
    value: Any = None

    def __str__(self) -> str:
        return f"{self.at:.2f} s: {ACTS[self.kind]}" + ("" if self.value is None else f" ({self.value})")


@attrs.frozen
class Outage:
    """Connects to a target are refused, dropped, or its host is unreachable."""

    target: str
    how: str
    since: float
    until: float

    def __str__(self) -> str:
        return f"{self.since:.2f} s to {self.until:.2f} s: target {self.target}: {self.how}"


@attrs.frozen
class Settings:
    """The part of the configuration that the seed decides, and the limit of descriptors."""

    hello: float
    connect: float
    idle: float
    half_closed: float
    drain: float
    eject: float
    check: str
    descriptors: int
    deadline: float
    limits: tuple[tuple[str, int], ...]


@attrs.frozen
class Plan:
    """A whole world. @ivar calm: the second after which no fault happens and all peers end in order."""

    seed: str
    settings: Settings
    clients: tuple[Client, ...]
    faults: tuple[Fault, ...]
    outages: tuple[Outage, ...]
    acts: tuple[Act, ...]
    calm: float

    def lines(self) -> list[str]:
        """The plan for people."""
        parts = [*self.clients, *self.faults, *self.outages, *self.acts]
        return [str(self.settings), *map(str, parts)]


def draw(seed: object) -> Plan:
    """The plan of a seed."""
    rng = Random(f"{seed}/plan")
    calm = rng.choice((4.0, 10.0, 30.0))
    # A swarm: each world has some kinds of faults and acts, often none, so that rare combinations meet.
    kinds = [kind for kind in KINDS if rng.random() < rng.choice((0.0, 0.15, 0.4))]
    acts = [kind for kind in ACTS if rng.random() < (0.1 if kind in ("stop", "end now") else 0.25)]
    settings = _settings(Random(f"{seed}/settings"))
    wild = rng.choice((0.1, 0.5, 1.0))
    clients = [_client(Random(f"{seed}/client {n}"), n, calm, wild) for n in range(rng.choice((1, 2, 3, 6, 12)))]
    return Plan(
        str(seed),
        settings,
        _crowded(Random(f"{seed}/crowd"), clients, calm),
        tuple(one for kind in kinds for one in _faults(Random(f"{seed}/{kind}"), kind, calm)),
        tuple(
            _outage(Random(f"{seed}/outage {target}"), target, calm) for target in TARGETS if rng.random() < 0.3 * wild
        ),
        tuple(
            _act(Random(f"{seed}/act {kind} {n}"), kind, calm) for kind in acts for n in range(rng.choice((1, 1, 3)))
        ),
        calm,
    )


def _crowded(rng: Random, clients: list[Client], calm: float) -> tuple[Client, ...]:
    """In some worlds all clients come at about the same time, many of them with the same name."""
    if rng.random() < 0.75:
        return tuple(clients)
    at, name = rng.uniform(0.0, calm / 2), rng.choice((*NAMES, "a.asked.test", "a.asked.test"))
    return tuple(
        attrs.evolve(
            client,
            at=at + rng.choice((0.0, 0.001, 0.3)) * rng.random(),
            name=name if rng.random() < 0.8 else client.name,
        )
        for client in clients
    )


def _settings(rng: Random) -> Settings:
    limits = []
    for key, values in (
        ("max_connections", (1, 3, 8)),
        ("max_hellos", (1, 2, 4)),
        ("max_connections_per_client", (1, 3)),
        ("max_hellos_per_client", (1, 2)),
        ("max_connecting", (1, 2, 4)),
        ("max_connecting_per_route", (1, 2)),
        ("rate_per_client", (1, 5)),
    ):
        if rng.random() < 0.12:
            limits.append((key, rng.choice(values)))
    return Settings(
        rng.choice((0.5, 1.0, 5.0)),
        rng.choice((0.5, 2.0, 5.0)),
        rng.choice((0, 2.0, 5.0, 20.0, 300.0)),
        rng.choice((1.0, 3.0, 15.0, 60.0)),
        rng.choice((0, 0.3, 3.0, 10.0)),
        rng.choice((0, 0, 2.0, 30.0)),
        rng.choice(("", "", "tcp")),
        rng.choice((24, 60, 500)),
        rng.choice((0.5, 2.0, 5.0)),
        tuple(limits),
    )


NAMES = ("one.test", "two.test", "least.test", "host.test", "a.asked.test", "b.asked.test", "x.formed.test")


def _client(rng: Random, number: int, calm: float, wild: float) -> Client:
    listener = "tls" if rng.random() < 0.85 else "plain"
    hello = "whole"
    if rng.random() < 0.2 * wild:
        hello = rng.choice(("cut", "broken", "none", "not TLS", "too long"))
    name: str | None = rng.choice(NAMES)
    if rng.random() < 0.1:
        name = rng.choice((None, "unrouted.example", "own.test"))
    pieces = []
    while rng.random() < 0.4:
        pieces.append((rng.choice((1, 3, 5, 9, 44, 100)), rng.choice((0.0, 0.01, 0.3, 1.5))))
    return Client(
        number,
        rng.uniform(0.0, calm * 0.8),
        f"192.0.2.{rng.choice((1, 1, 2, 3))}",
        listener,
        name,
        hello,
        tuple(pieces),
        _steps(rng, wild),
        _steps(rng, wild),
        *_reads(rng),
        *_reads(rng),
    )


def _reads(rng: Random) -> tuple[int, float]:
    if rng.random() < 0.7:
        return 1 << 16, 0.0
    return rng.choice((100, 4000, 30_000)), rng.choice((0.01, 0.2, 2.0))


def _steps(rng: Random, wild: float) -> tuple[Step, ...]:
    steps: list[Step] = []
    while len(steps) < 8 and rng.random() < 0.75:
        if rng.random() < 0.6:
            steps.append(("send", rng.choice((1, 7, 100, 3000, 3000, 20_000, 60_000))))
        else:
            steps.append(("wait", rng.choice((0.0, 0.001, 0.05, 0.3, 1.0, 4.0))))
    last = rng.random()
    if last < 0.45:
        steps.append(("fin",))
    elif last < 0.55:
        steps.append(("close",))
    elif last < 0.55 + 0.2 * wild:
        steps.append(("reset",))
    elif last < 0.55 + 0.27 * wild:
        steps.append(("vanish",))
    return tuple(steps)


def _faults(rng: Random, kind: str, calm: float) -> list[Fault]:
    rate = rng.choice((0.02, 0.2, 0.8))
    if kind.startswith("broken"):
        rate = rng.choice((0.005, 0.05, 0.3))
    found = []
    for _ in range(rng.choice((1, 1, 2))):
        since = rng.choice((0.001, rng.uniform(0.001, calm)))  # the start itself needs descriptors
        found.append(Fault(kind, since, min(calm, since + rng.choice((0.1, 1.0, calm))), rate))
    return found


def _outage(rng: Random, target: str, calm: float) -> Outage:
    since = rng.choice((0.0, rng.uniform(0.0, calm)))
    return Outage(
        target, rng.choice(("refused", "dropped", "unreachable")), since, since + rng.choice((0.5, 3.0, calm))
    )


def _act(rng: Random, kind: str, calm: float) -> Act:
    value: Any = None
    if kind in ("reload", "reload beside"):
        value = rng.choice(("same", "timeouts", "routes", "listeners", "limits", "resolver"))
    elif kind in ("drain", "undrain"):
        value = rng.choice((*(f"{host}:{PORT}" for host in TARGETS), "one.test", "two.test", "*.asked.test"))
    elif kind == "wall clock":
        value = rng.choice((-86_400.0, -3.0, 3600.0))
    return Act(kind, rng.uniform(0.0, calm), value)
