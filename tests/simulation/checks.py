"""The invariants of a world, beside the relay's contract (C{model}): those of each moment, and those of the end."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection, Result
from sniproxy.net.lookup import lookups_of
from sniproxy.relay.direction import READ_BYTES
from sniproxy.relay.relay import IDLE_CHECKS, Relay
from sniproxy.util.timerwheel import TICK_S
from tests.simulation.moving import MAX_TRANSIT_S

if TYPE_CHECKING:
    from tests.simulation.world import World

SLACK_S = 0.01

STOP_SLACK_S = 4.0
"""Seconds for listeners that close, and for the closer, beside the drain."""

VANISHED_S = 300.0
"""Seconds in which a peer that has vanished is noticed: two checks, and keep-alive or C{TCP_USER_TIMEOUT}."""


class Watch:
    """Follows the connections of a world from one step of the clock to the next."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._moved: dict[str, tuple[object, float]] = {}  # by client, because a tunnel may move
        self._deadline = world.plan.settings.deadline
        # Without the set for peers that leave, some are noticed later.
        self._blind = any(fault.kind in ("no_watches", "no_epoll") for fault in world.plan.faults)

    def step(self) -> None:
        """Check all that must hold when nothing can happen at this time any more."""
        world = self._world
        for text in self._faults():
            world.fail(text)
            return

    def _faults(self) -> Iterator[str]:
        world, now = self._world, self._world.reactor.seconds()
        settings = world.plan.settings
        if world.stop_began is not None and now > world.stop_began + settings.drain + STOP_SLACK_S:
            left = sum(len(service._connections.live) for service in world.services)
            if left:
                yield f"{left} connections are open {now - world.stop_began:.1f} s after the stop began"
        for since in world.open_queries.values():
            if now - since > settings.deadline + SLACK_S:
                yield f"a query of the resolver is open for {now - since:.2f} s"
        for service in self._world.services:
            account, live = service._account, service._connections.live
            if account.bytes < 0:
                yield f"the account of buffered bytes is {account.bytes}"
            admission = service._connections.admission
            if admission._connections != len(live):
                yield f"admission counts {admission._connections} connections, {len(live)} are open"
            for conn in live:
                if isinstance(conn.tunnel, Relay):
                    yield from self._of_tunnel(conn, conn.tunnel)
                elif conn.tunnel is None:
                    yield from self._of_stages(conn)

    def _of_stages(self, conn: Lifecycle) -> Iterator[str]:
        timeouts, elapsed = conn.timeouts, conn.elapsed()
        if conn.stage == "hello" and conn.record.hello_s is None:
            if elapsed > timeouts.hello + TICK_S + SLACK_S:
                yield f"{conn.record.client} waits for its hello for {elapsed:.3f} s, allowed are {timeouts.hello:g} s"
        elif elapsed - (conn.record.hello_s or 0.0) > timeouts.connect + 2 * TICK_S + SLACK_S:
            yield f"{conn.record.client} waits in the stage {conn.stage} for {elapsed:.3f} s"
        elif conn.stage == "resolve" and elapsed - (conn.record.hello_s or 0.0) > 2 * self._deadline + SLACK_S:
            yield f"{conn.record.client} waits for the resolver for {elapsed:.3f} s"
        elif conn.stage != "hello" and not self._blind and conn.sock is not None:
            end = conn.sock.what  # type: ignore[attr-defined]
            if end.dead or (end.inn.fin_arrived and not conn.may_half_close):
                yield f"{conn.record.client} has left in the stage {conn.stage}, and is not noticed"

    def _of_tunnel(self, conn: Lifecycle, relay: Relay) -> Iterator[str]:
        now, who = self._world.reactor.seconds(), conn.record.client
        if relay._done is None:
            return  # it was given back
        state = (relay.bytes_up, relay.bytes_down, relay.half_closed)
        if self._moved.get(who, (None, 0.0))[0] != state:
            self._moved[who] = state, now
        allowed = allowed_silence(conn)
        silent = now - self._moved[who][1]
        late = 2 * TICK_S + SLACK_S + (0.0 if self._world.line is None else MAX_TRANSIT_S)
        if allowed and silent > allowed * (1 + 1 / IDLE_CHECKS) + late:
            yield f"the tunnel of {who} is silent for {silent:.3f} s, allowed are {allowed:g} s"
        for direction in (relay._up, relay._down):
            source: Any = direction.source.sock
            target: Any = direction.target.sock
            held = len(direction.held())
            if held > READ_BYTES + (1 << 18):
                yield f"the tunnel of {who} holds {held} bytes"
            if target.fileno() < 0 or source.fileno() < 0:
                continue
            if source.what.dead and not self._blind:
                yield f"the tunnel of {who} does not notice that its {direction.source.name} is lost"
            vanished = source.what.peer.vanished
            if vanished and now - max(source.what.silent_since, self._moved[who][1]) > VANISHED_S:
                yield f"the tunnel of {who} does not notice that its {direction.source.name} has vanished"
            if direction.ended and not (target.what.out.fin_sent or target.what.dead):
                yield f"the tunnel of {who} has not passed the end of its {direction.source.name} on"
            if direction.ended:
                continue
            room = bool(events_of(target) & select.EPOLLOUT)
            if room and held:
                yield f"the tunnel of {who} holds {held} bytes for its {direction.target.name}, which has room"
            elif room and not direction.eof and events_of(source) & select.EPOLLIN:
                yield f"the tunnel of {who} does not read its {direction.source.name}, and the other side has room"

    def silence_of(self, conn: Connection) -> float | None:
        """How long the tunnel of a record has been silent. None: unknown."""
        found = self._moved.get(conn.client)
        return None if found is None else self._world.reactor.seconds() - found[1]


def allowed_silence(conn: Lifecycle) -> float:
    """Seconds without a byte after which a tunnel ends. 0: it does not."""
    timeouts = conn.timeouts
    if conn.tunnel is not None and conn.tunnel.half_closed:
        return min(timeouts.half_closed, timeouts.idle or timeouts.half_closed)
    return timeouts.idle


def events_of(sock: Any) -> int:
    """What a simulated socket has to report."""
    events: int = sock.what.events()
    return events


def of_record(world: World, record: Connection) -> Iterator[str]:
    """What a record must not say."""
    who = f"the record of {record.client}"
    if record.result not in Result:
        yield f"{who} has the result {record.result!r}"
    if record.result is Result.INTERNAL_ERROR:
        yield f"{who} says internal_error: {record.reason}"
    if not 0 <= record.total_s < 100_000:
        yield f"{who} has total_s {record.total_s}"
    settings = world.plan.settings
    if record.result is Result.HELLO_TIMEOUT and record.total_s < settings.hello - SLACK_S:
        yield f"{who}: hello_timeout after {record.total_s:.3f} s, allowed are {settings.hello:g} s"
    if record.result is Result.IDLE_TIMEOUT:
        silent = world.watch.silence_of(record)
        least = min(settings.half_closed, settings.idle or settings.half_closed)
        if silent is not None and silent < least - SLACK_S:
            yield f"{who}: idle_timeout after {silent:.3f} s of silence, allowed are {least:g} s at least"


def of_the_end(world: World) -> Iterator[str]:
    """What is left although the proxy has stopped, and all peers have ended."""
    kernel, reactor = world.kernel, world.reactor
    for service in world.services:
        connections = service._connections
        admission = connections.admission
        counts = {
            "live connections": len(connections.live),
            "connections of admission": admission._connections,
            "clients of admission": len(admission._clients),
            "routes of admission": len(admission._routes),
            "connecting connections": admission.connecting,
            "connecting routes": len(admission._connecting),
            "waiting hellos": len(admission.hellos),
            "extra descriptors": admission.extra_descriptors,
            "buffered bytes": service._account.bytes,
            "sockets being closed": len(service._closer),
            "hello randoms": len(connections.randoms),
            "running health checks": len(service._checker._running),
        }
        stats = service._upstreams.stats
        for key, known in service._upstreams.known.items():
            if known.until - reactor.seconds() > world.plan.settings.eject + SLACK_S:
                yield f"target {key} is ejected for {known.until - reactor.seconds():.1f} s more"
        counts["open queries of the resolver"] = len(world.open_queries)
        for key in stats.known:
            counts[f"connections of target {key}"] = stats.known[key].connections
        counts["connections of other targets"] = sum(stats._others.values()) + stats.rest.connections
        yield from (f"left at the end: {count} {name}" for name, count in counts.items() if count)
    for number, what in kernel.descriptors.items():
        yield f"left at the end: descriptor {number}, {type(what).__name__} {getattr(what, 'name', '')}"
    for one in [*reactor.getReaders(), *reactor.getWriters()]:
        yield f"left in the reactor: {one!r}"
    for call in reactor.pending_calls():
        yield f"left in the reactor: a call of {call.function!r}"
    running = lookups_of(reactor).counts()
    if any(running.running.values()) or any(running.waiting.values()):
        yield f"left at the end: lookups {running.running}, {running.waiting}"
    for client in world.clients:
        if client.must_have_record and client.records != 1:
            yield f"{client.name} has {client.records} records"
