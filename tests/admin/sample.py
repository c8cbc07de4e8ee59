"""A fake proxy for the admin endpoint, with sources that a test sets."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.admin.metrics import Metrics
from sniproxy.admin.recentrefusals import RecentRefusals
from sniproxy.admin.recording import CannotRecord
from sniproxy.admin.site import AdminSite
from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import (
    DrainStatus,
    LimitsStatus,
    ListenerStatus,
    Readiness,
    RelayStatus,
    Reloads,
    ResolverStatus,
    RouteStatus,
    Send,
    Status,
    TargetStatus,
    UnknownDrainTarget,
)
from sniproxy.admin.topics import Topics
from sniproxy.admin.upgrades import OldProcess, Upgrade
from sniproxy.conversation.recorder import Recording
from sniproxy.events import Connection, Proxied, Result, packed_address
from sniproxy.faults.active import ActiveFaults
from sniproxy.inspector.ledger import Ledger
from sniproxy.interfaces import Target
from sniproxy.pulsar.events import Event
from sniproxy.routing.targetstats import TargetStatsTable
from sniproxy.tls.alerts import Alert

NOW = 1_700_000_000.0
NAMES = ("orders", "payments", "clicks", "audit", "sessions", "emails", "inventory", "shipping", "prices", "carts")
HOSTILE = "persistent://shop/eu/<img src=x onerror=document.title='broken'>"


@attrs.define
class SampleLive:
    """An open connection."""

    record: Connection
    bytes_up: int = 0
    bytes_down: int = 0
    state: str = "open"


@attrs.define
class SampleProxy:
    """A fake service. @ivar now: the time for the site. @ivar look: called on each status request."""

    now: float = NOW
    look: Callable[[], None] = lambda: None
    ready: bool = True
    tunnels: list[SampleLive] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    access_log_lost: int = 0
    reloads: Reloads = attrs.field(factory=Reloads)
    drains: list[DrainStatus] = attrs.field(factory=list)
    resolvers: list[ResolverStatus] = attrs.field(factory=list)
    targets: list[TargetStatus] = attrs.field(factory=list)
    routes: list[RouteStatus] = attrs.field(factory=list)
    target_stats: TargetStatsTable = attrs.field(factory=TargetStatsTable)
    forgets: int = 0
    closed: set[str] = attrs.field(factory=set)
    upgrade: Upgrade | None = None
    old_processes: list[OldProcess] = attrs.field(factory=list)
    faults: ActiveFaults = attrs.field(factory=ActiveFaults)
    recordings: list[tuple[Recording, Send]] = attrs.field(factory=list)

    def status(self) -> Status:
        """Three listeners, one of them not on TCP."""
        self.look()
        return Status(
            ready=self.ready,
            started=NOW - 7_500,
            configuration="/etc/sniproxy.toml",
            since=NOW - 600,
            listeners=[
                ListenerStatus("public", "tcp:4443", ("0.0.0.0", 4443), "public" in self.closed),
                ListenerStatus("inside", "tcp6:6650:interface=\\:\\:1", ("::1", 6650)),
                ListenerStatus("unix:/run/s", "unix:/run/s", None),
            ],
            access_log_lost=self.access_log_lost,
            warnings=self.warnings,
            reloads=self.reloads,
            drains=self.drains,
            resolvers=self.resolvers,
            old_processes=self.old_processes,
            faults=[*self.faults.document()],
        )

    def add_fault(self, values: Mapping[str, str]) -> Mapping[str, Any]:
        """Add a fault, to any listener."""
        name = self.faults.add(values, dict.fromkeys(self.listener_names, True)).fault.name
        return next(one for one in self.faults.document() if one["name"] == name)

    def record(self, listeners: Sequence[str], what: Recording, send: Send) -> tuple[list[str], Callable[[], None]]:
        """Refuse a listener named C{none}; otherwise note the recording."""
        if "none" in listeners:
            raise CannotRecord("no listener is inspected")
        self.recordings.append((what, send))
        return [*listeners] or ["public"], lambda: self.recordings.remove((what, send))

    @property
    def listener_names(self) -> list[str]:
        """Those of the status."""
        return [one.name for one in self.status().listeners]

    def targets_steps(self, limit: int) -> Steps[tuple[list[TargetStatus], int]]:
        """The value that the test has set."""
        yield
        return self.targets[:limit], len(self.targets)

    def routes_steps(self, limit: int) -> Steps[tuple[list[RouteStatus], int]]:
        """The value that the test has set."""
        yield
        return self.routes[:limit], len(self.routes)

    def forget_targets(self) -> Steps[None]:
        """Count the call."""
        yield
        self.forgets += 1

    def resolvers_status(self) -> list[ResolverStatus]:
        """The value that the test has set."""
        return self.resolvers

    def limits_status(self) -> LimitsStatus:
        """None."""
        return LimitsStatus()

    def relay_status(self) -> RelayStatus:
        """Python."""
        return RelayStatus()

    def readiness(self) -> Readiness:
        """One process, and the drains that the test has begun."""
        return Readiness(self.ready, 1, self.drains)

    def current_settings(self, most: int) -> dict[str, Any]:
        """Only the argument."""
        return {"most": most}

    def drain(self, name: str, rate: float, kind: str | None = None) -> DrainStatus:
        """Drain any target except ``nobody``, unless it is said what it is."""
        if name == "nobody" and kind is None:
            raise UnknownDrainTarget("there is no nobody")
        self.drains.append(DrainStatus(kind or "target", name, NOW, rate, 0, 0, 3, ["192.0.2.1:5"]))
        return self.drains[-1]

    def undrain(self, name: str) -> DrainStatus:
        """The last one."""
        return self.drains.pop()

    def live(self) -> list[SampleLive]:
        """The value that the test has set."""
        return self.tunnels


def listed(targets: list[TargetStatus]) -> Callable[[int], Steps[tuple[list[TargetStatus], int]]]:
    """Lists these targets, whatever the limit."""

    def steps(limit: int) -> Steps[tuple[list[TargetStatus], int]]:
        yield
        return targets, len(targets)

    return steps


def target_stats(**connections: int) -> TargetStatsTable:
    """Counts of targets with open connections, by host; their port is 1."""
    table = TargetStatsTable()
    for host, count in connections.items():
        table.enter_configured(Target(host, 1))
        for _ in range(count):
            table.add_connection(Target(host, 1))
    return table


def connection(number: int = 1, result: Result = Result.OK, age: float = 60.0, **more: Any) -> Connection:
    """A connection of a client through a route."""
    record = Connection(f"ab12cd34-{number}", NOW - age, "public", f"192.0.2.7:{50_000 + number}", result=result)
    found = {"server_name": "broker-1.pulsar.test", "route": "*.pulsar.test", "target": "10.0.0.11:6651"}
    return attrs.evolve(record, **{**found, **more})


def refused(number: int = 1, result: Result = Result.NO_ROUTE, **more: Any) -> Connection:
    """A connection without a route."""
    none = {"route": None, "target": None, "alert": Alert.UNRECOGNIZED_NAME, "reason": "no route has this name"}
    return connection(number, result, **{**none, **more})


def lookup(
    response: str = "connect",
    error: str | None = None,
    time: float = NOW,
    broker: int = 1,
    topic: str | None = "persistent://public/default/orders",
    **more: Any,
) -> Event:
    """A lookup event of the inspector."""
    fields: dict[str, Any] = {
        "topic": topic,
        "response": response,
        "broker_url": f"pulsar://broker-{broker}:6650",
        "broker_url_tls": f"pulsar+ssl://broker-{broker}.pulsar.test:6651",
        "authoritative": True,
        "proxy_through_service_url": False,
        "advertised_listener": None,
        "latency_s": 0.004,
        "error": error,
        "message": None,
    }
    if response == "failed":
        fields |= {"broker_url": None, "broker_url_tls": None, "authoritative": False}
    return Event("lookup", time, "ab12cd34-1", {**fields, **more})


class SampleSite:
    """A site of a fake proxy, with its observers."""

    def __init__(
        self, reactor: Any, inspecting: bool = True, hosts: Sequence[str] = (), instance: int | None = None
    ) -> None:
        self.proxy = SampleProxy()
        self.ledger = Ledger()
        self.metrics = Metrics(
            self.proxy.live,
            lambda: self.proxy.access_log_lost,
        )
        self.refusals = RecentRefusals()
        self.topics = Topics(self.ledger) if inspecting else None
        self.metrics.topics = None if self.topics is None else self.topics.by_cluster
        self.site = AdminSite(
            reactor, self.proxy, self.metrics, self.refusals, self.topics, hosts, lambda: self.proxy.now, instance
        )

    def ended(self, record: Connection) -> None:
        """End a connection."""
        self.metrics.count_connection(record)
        self.refusals(record)

    def event(self, event: Event, place: str = "") -> None:
        """Report an event of the inspector and the events derived from it."""
        for each in (event, *self.ledger.learn(event, place)):
            self.metrics.count_event(each)
            if self.topics is not None:
                self.topics.event(each)

    def fill(self) -> None:
        """Fill the sample with deterministic data."""
        dice = random.Random(60)
        self._fill_tunnels(dice)
        self._fill_ledger(dice)
        self.proxy.warnings.append("listener inside: plaintext beyond loopback: whoever can reach it can read it")
        why = "broker-7.pulsar.test is advertised, but no route has it: TLS clients will be refused"
        self.proxy.warnings.append(why)
        fields: dict[str, Any] = {"broker_url_tls": "pulsar+ssl://broker-7.pulsar.test:6651", "message": why}
        self.event(Event("unrouted", NOW - 20, "ab12cd34-3", fields))

    def _fill_tunnels(self, dice: random.Random) -> None:
        tunnels = self.proxy.tunnels
        for number in range(1, 19):
            broker, age = dice.randint(1, 4), dice.choice([3, 40, 700, 9_000, 200_000])
            name, target = f"broker-{broker}.pulsar.test", f"10.0.0.{10 + broker}:6651"
            record = connection(number, age=age, server_name=name, target=target)
            tunnels.append(SampleLive(record, dice.randint(500, 5_000_000), dice.randint(5_000, 900_000_000)))
        tunnels.sort(key=lambda one: one.record.time)
        tunnels[-2].state = "half_closed"
        for live in tunnels[-3:]:
            live.record.upstream = packed_address("10.0.0.2", 40_000 + len(live.record.id))
        tunnels[-3].record.proxied = Proxied("10.0.0.9:41000", {"authority": "pulsar-vip.pulsar.test"})
        tunnels.append(SampleLive(connection(19, age=1, server_name=None, route=None, target=None), state="hello"))
        tunnels.append(SampleLive(connection(20, age=1, target="10.0.0.13:6651"), state="connect"))
        for number in range(50, 96):
            times: dict[str, Any] = {
                "hello_s": dice.expovariate(300),
                "resolve_s": 0.0,
                "connect_s": dice.expovariate(100),
            }
            self.ended(connection(number, bytes_up=70_000, bytes_down=9_000_000, **times))
        for number in range(30, 37):
            why = "no route has this name; the closest is broker-3.pulsar.test"
            self.ended(refused(number, server_name="broker-33.pulsar.test", reason=why))
        why = "10.0.0.14:6651: Connection refused"
        name = "broker-4.pulsar.test"
        self.ended(connection(40, Result.CONNECT_FAILED, server_name=name, total_s=37.0, reason=why))
        why = "a plaintext Pulsar client: use pulsar+ssl:// in its service URL"
        self.ended(refused(41, Result.NOT_TLS, server_name=None, reason=why, total_s=52.0))

    def _fill_ledger(self, dice: random.Random) -> None:
        places: dict[str, int] = {}
        for broker, topics in enumerate((26, 9, 60, 19), 1):
            for place in range(topics):
                name = dice.choice(NAMES) if place < 9 else f"{dice.choice(NAMES)}-{place}"
                topic = f"persistent://shop/{dice.choice(('eu', 'us', 'test'))}/{name}"
                if topic not in places:
                    places[topic] = broker
                    time = NOW - dice.randint(1_000, 4_000)
                    for _ in range(int(dice.paretovariate(0.8)) % 200 + (dice.randint(0, 36) if place < 12 else 0)):
                        self.event(lookup(topic=topic, broker=broker, time=time))
        for age, topic in zip((800, 640, 250, 90, 30, 12), list(places)[2::17], strict=False):
            self.event(lookup(topic=topic, broker=places[topic] % 4 + 1, time=NOW - age))
        self.event(lookup("failed", "TopicNotFound", NOW - 30, topic=HOSTILE, message="Topic not found"))
        topic = "persistent://shop/eu/carts"
        why = f"Namespace bundle for topic ({topic}) is being unloaded"
        self.event(lookup("failed", "ServiceNotReady", NOW - 4, topic=topic, message=why))

    def pass_time(self, seconds: float, dice: random.Random) -> None:
        """Add bytes and lookups, as if time had passed."""
        self.proxy.now += seconds
        for live in self.proxy.tunnels:
            if live.state == "open":
                live.bytes_down += int(dice.expovariate(1 / 900_000) * seconds)
        for entry in dice.sample(self.ledger.topics(), dice.randint(0, 9)):
            urls: dict[str, Any] = {"broker_url": entry.broker_url, "broker_url_tls": entry.broker_url_tls}
            self.event(lookup(topic=entry.topic, time=self.proxy.now, **urls))
