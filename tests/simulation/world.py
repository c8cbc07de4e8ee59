"""A world: the proxy's own code, its clients and targets, and what happens to them by a plan."""

from __future__ import annotations

import errno
import gc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any

import attrs

from sniproxy.config.parser import parse
from sniproxy.connection import tunnel as tunnels
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection, Result
from sniproxy.service import ProxyService
from tests.simulation import acting, checks
from tests.simulation.faults import Faults
from tests.simulation.hello import hello_of
from tests.simulation.kernel import End, Kernel, Listening
from tests.simulation.model import BrokenContract, Half, TunnelModel
from tests.simulation.moving import Line
from tests.simulation.patches import LaterOffload, inside
from tests.simulation.peers import Peer
from tests.simulation.plan import OF_LATE_ANSWERS, Client, Plan
from tests.simulation.reactor import SimulatedReactor, Stuck
from tests.simulation.settings import configuration

START_S = 1000.0
"""The reactor's clock at the start."""

LIMIT_S = 4000.0
"""Seconds after the calm in which all connections end: more than Linux retransmits (924 s)."""

STOP_LIMIT_S = 30.0
"""Seconds for a stop, beside the drain."""

MAX_LINES = 20_000

PORTS = {"tls": 4443, "plain": 6650}


@cache
def _freeze_modules() -> None:
    """Collecting garbage after each world then takes a tenth of the time."""
    gc.freeze()


@attrs.define(eq=False)
class Connected:
    """A client of the world. @ivar model: None: it has no tunnel yet. @ivar records: how many the proxy wrote."""

    plan: Client
    peer: Peer
    down: Half
    model: TunnelModel | None = None
    records: int = 0
    accepted: bool = False
    result: Result | None = None

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def must_have_record(self) -> bool:
        """Whether the proxy took it over: those that [limits] refuse by client get a reset and no record."""
        return self.accepted


class World:
    """@ivar violation: the first broken invariant. Empty: none. @ivar story: what has happened, a line each."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.violation = ""
        self.story: list[str] = []
        self.digest = 0
        self.rng = Random(f"{plan.seed}/world")
        self.reactor: Any = SimulatedReactor(Random(f"{plan.seed}/reactor"))
        self.faults = Faults(plan.faults, self.clock)
        self.kernel = Kernel(self.reactor.later, self.reactor.seconds, self.faults, plan.seed)
        self.kernel.limit = plan.settings.descriptors
        self.kernel.dials = self._dialled
        self.kernel.dropped = self._dropped
        self.reactor.kernel = self.kernel
        self.queries = self.lookups = 0
        self.wall_offset = 1_700_000_000.0
        self.sources: list[Any] = []
        self.open_queries: dict[Any, float] = {}
        self.services: list[ProxyService] = []
        self.clients: list[Connected] = []
        self.targets: dict[End, Peer] = {}
        self.by_address: dict[str, Connected] = {}
        self.models: dict[Peer, TunnelModel] = {}
        self.watch = checks.Watch(self)
        self.offload = LaterOffload(self)
        self.stopped: list[Any] = []
        self.stop_began: float | None = None
        self.line: Line | None = None
        self.variant = "same"
        self.reactor.before_clock_moves = self.watch.step

    # What all parts of the world use

    def clock(self) -> float:
        """Seconds since the start."""
        seconds: float = self.reactor.seconds() - START_S
        return seconds

    def time_of_day(self) -> float:
        """Seconds since 1970. It jumps."""
        return self.clock() + self.wall_offset

    def note(self, text: str) -> None:
        """Tell what happens."""
        line = f"{self.clock():9.4f} s  {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if len(self.story) < MAX_LINES:
            self.story.append(line)

    def fail(self, why: str) -> None:
        """An invariant is broken. Only the first counts."""
        if not self.violation:
            self.violation = why
            self.reactor.halt = True
            self.note(f"BROKEN: {why}")

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Turns a broken contract into a violation."""
        try:
            yield
        except BrokenContract as error:
            self.fail(str(error))

    def model_of(self, peer: Peer) -> TunnelModel | None:
        """The tunnel of a client or a target. None: it has none."""
        return self.models.get(peer)

    @property
    def service(self) -> ProxyService:
        """The proxy that accepts."""
        return self.services[0]

    # The run

    def run(self) -> str:
        """Run it to its end. @return: the violation; empty: none."""
        gc.disable()
        try:
            with inside(self):
                try:
                    self._run()
                except Stuck as error:
                    self.fail(str(error))
                gc.collect()  # Deferreds report an unhandled error when they are freed
        finally:
            _freeze_modules()
            gc.enable()
        return self.violation

    def _run(self) -> None:
        text = configuration(self.plan.settings, self.variant)
        self.services.append(ProxyService(parse(text, "world.toml"), self.reactor, self.record))
        self.service.startService()
        for client in self.plan.clients:
            self.reactor.later(client.at, lambda client=client: self._connect(client))
        for act in self.plan.acts:
            self.reactor.later(act.at, lambda act=act: acting.perform(self, act))
        self.reactor.later(self.plan.calm, self._calm)
        end = START_S + self.plan.calm + LIMIT_S
        if not self.reactor.run(end, self._quiet):
            self.fail(f"connections wait for ever: {self._open()}")
        if self.violation:
            return
        if not self.stopped:
            acting.stop(self)
        limit = self.plan.settings.drain + STOP_LIMIT_S
        if not self.reactor.run(self.reactor.seconds() + limit, self._all_stopped):
            self.fail("the stop does not end")
        self.reactor.run(self.reactor.seconds() + 20.0, lambda: False)
        if not self.violation:
            for why in checks.of_the_end(self):
                self.fail(why)

    def _quiet(self) -> bool:
        if self.clock() <= self.plan.calm or not all(client.peer.over for client in self.clients):
            return False
        return not any(service._connections.live for service in self.services)

    def _all_stopped(self) -> bool:
        return len(self.stopped) >= len(self.services) and all(one.called for one in self.stopped)

    def _open(self) -> str:
        live = [f"{c.record.client} ({c.state})" for service in self.services for c in service._connections.live]
        peers = [client.name for client in self.clients if not client.peer.over]
        return ", ".join([*live, *peers])

    def _calm(self) -> None:
        self.note("calm: no more faults; all peers end")
        for peer in [*(client.peer for client in self.clients), *self.targets.values()]:
            peer.calm()

    # Clients

    def _connect(self, plan: Client) -> None:
        name = f"client {plan.number}"
        address = plan.address, 40_000 + plan.number
        end, _ = self.kernel.pair(name, address, ("10.0.0.1", PORTS[plan.listener]))
        down = Half(f"{name}, target to client")
        peer = Peer(self, end, name, Random(f"{self.plan.seed}/{name}"), Half(f"{name}, client to target"))
        peer.chunk, peer.pause = plan.chunk, plan.pause
        client = Connected(plan, peer, down)
        self.clients.append(client)
        self.by_address[f"{address[0]}:{address[1]}"] = client
        self.note(f"{name} connects to the listener {plan.listener}")
        steps: list[Any] = []
        whole = hello_of(plan)
        at = 0
        for size, pause in plan.pieces:
            steps += [("bytes", whole[at : at + size]), ("wait", pause)]
            at += size
        steps += [("bytes", whole[at:]), *plan.steps]
        self.reactor.later(self.kernel.latency(end), lambda: self.kernel.connect(end, lambda: self._refused(client)))
        peer.follow(steps)

    def _refused(self, client: Connected) -> None:
        self.note(f"{client.name}: connection refused")
        client.peer.saw = "refused"

    # Targets

    def _dialled(self, end: End, peer: End) -> None:
        host = end.peer_address[0]
        now = self.clock()
        if host == OF_LATE_ANSWERS:
            self.fail(f"{end.name} leads to an address that the resolver gave after its query was cancelled")
        outage = next((one for one in self.plan.outages if one.target == host and one.since <= now < one.until), None)
        if outage is not None:
            self.note(f"{end.name} to {host}: {outage.how}")
            if outage.how != "dropped":
                number = errno.ECONNREFUSED if outage.how == "refused" else errno.EHOSTUNREACH
                self.reactor.later(self.kernel.latency(end), lambda: self.kernel.settle(end, number))
            return
        target = Peer(self, peer, f"target {host} ({end.name})", Random(f"{self.plan.seed}/{end.name}"), Half(end.name))
        self.targets[peer] = target

        def accept() -> None:
            if not end.dead:
                self.kernel.settle(end, 0)
                self.note(f"{target.name} accepts")
                target.poke()
                if self.clock() > self.plan.calm:
                    target.calm()

        if end.rng.random() < 0.5:
            accept()
        else:
            self.reactor.later(self.kernel.latency(end), accept)

    def start_relay(self, conn: Lifecycle, upstream: Any, received: bytes, directions: Any = None) -> None:
        """In place of the stage C{start_relay}: tells the model about the tunnel, then calls the stage."""
        client = self.by_address[conn.record.client]
        target = self.targets[upstream.what.peer]
        model = client.model = TunnelModel(client.name)
        self.models[client.peer] = self.models[target] = model
        model.up, model.down = client.peer.out, client.down
        sent, target.out = target.out, model.down
        model.down.sent += sent.sent
        model.down.source_ended, model.down.source_broke = sent.source_ended, sent.source_broke
        self.note(f"{client.name} has a tunnel to {target.name}")
        client.peer.attach(model.up, model.down, client.name)
        target.attach(model.down, model.up, client.name)
        plan = client.plan
        target.chunk, target.pause = plan.target_chunk, plan.target_pause
        if self.clock() <= self.plan.calm:
            target.follow(list(plan.target_steps))
        else:
            target.calm()
        tunnels.start_relay(conn, upstream, received, directions)

    def _dropped(self, listening: Listening) -> None:
        exhausted = (
            any(fault.kind in ("no_accepts",) for fault in self.plan.faults) or self.plan.settings.descriptors < 60
        )
        if listening.backlog and not exhausted:
            self.fail(
                f"the listener {listening.address} is closed with {len(listening.backlog)} clients in its backlog"
            )

    # Records

    def record(self, record: Connection) -> None:
        """The proxy's observer of ended connections."""
        client = self.by_address[record.client]
        client.records += 1
        client.result = record.result
        self.note(f"record of {client.name}: {record.result}" + (f" ({record.reason})" if record.reason else ""))
        for why in checks.of_record(self, record):
            self.fail(why)
        if client.records > 1:
            self.fail(f"{client.name} has {client.records} records")
        model = client.model
        if model is not None:
            ends = [peer.end.peer for peer in (client.peer, *self.targets.values()) if self.models.get(peer) is model]
            model.broken_call = any(end.broken_by for end in ends)
            with self.checking():
                model.finish(record.result, record.bytes_up, record.bytes_down)
