"""The cases of the data path benchmark: what is done with each proxy, and which figures it gives.

A case starts a new proxy for each run. ``Lengths`` sets durations and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from attrs import evolve, frozen

from bench.childprocess import SKIPPED, LoadError
from bench.clients import CONCURRENT, Destination, Sample, bulk, checked, echo, echoes, idle, refused, tunnels
from bench.headers import header_instructions, headers
from bench.instructions import instructions
from bench.meanwhile import meanwhile, reload
from bench.ours import with_toml
from bench.peer import DIRECT, Peer
from bench.peers import OTHERS
from bench.relays import ENGINE, note
from bench.running import Running
from bench.targets import KINDS, Target, client_hello


@frozen
class Lengths:
    """Durations and sizes of a run.

    Seconds of load, bytes of the check, idle tunnels, names; ``beside``: idle tunnels beside an echo; ``calls``:
    tunnels whose instructions are counted.
    """

    seconds: float
    check: int
    idle: int
    scale: Sequence[int]
    starts: Sequence[int]
    names: Sequence[int]
    beside: int
    calls: int


FULL = Lengths(2.0, 32_000_000, 3_000, (100, 1_000, 3_000, 9_000), (10_000, 100_000), (10, 1_000, 100_000), 8_000, 400)
QUICK = Lengths(0.25, 4_000_000, 300, (100,), (1_000,), (10,), 200, 48)


class TestBed:
    """A target of each kind, and the proxies in front of them.

    ``relays``: which of our relays served, by peer, for peers that say it.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._hellos = {kind: client_hello(f"{kind}.bench.test") for kind in KINDS}
        self._ports = {}
        self.relays: dict[str, str] = {}
        for kind, hello in self._hellos.items():
            target = Target(kind, len(hello))
            stack.callback(target.stop)
            self._ports[kind] = target.port
        self.routes: Mapping[str, int] = {f"{kind}.bench.test": port for kind, port in self._ports.items()}

    def through(self, running: Running | None, kind: str) -> Destination:
        """The address of a target through a proxy; None: without a proxy."""
        if running is None:
            return Destination(self._ports[kind], self._hellos[kind], ())
        return Destination(running.port, self._hellos[kind], running.pids)

    @contextmanager
    def running(
        self, peer: Peer | None, more: Sequence[str] = (), workers: int = 1, before: Sequence[str] = ()
    ) -> Iterator[Running | None]:
        """A newly started peer with all routes, as `Running` says. None: no proxy.

        Raises `LoadError`, also if another one of our relays serves than in an earlier run.
        """
        if peer is None:
            yield None
            return
        running = Running(peer, self.routes, more, workers, before)
        try:
            note(self.relays, peer.name, running.relay)
            yield running
        finally:
            running.stop()


_Run = Callable[[TestBed, Peer | None, Lengths], Sample]
_Work = Callable[[Destination, float], Sample]


@frozen
class Case:
    """What is measured with each of ``peers``.

    ``best``: the figure by which peers are ranked; empty: none. ``more``: whether more is better. ``pinned``: all
    processes share one CPU. ``rounds``: runs of each peer in a full run.
    """

    name: str
    title: str
    run: _Run
    best: str
    more: bool
    peers: Sequence[str] = ("ours", *OTHERS)
    pinned: bool = False
    rounds: int = 5

    def quick_peers(self) -> Sequence[str]:
        """The peers of a quick run: all in the first case, which uses each configuration; else ours and yardsticks."""
        if self.name == "check":
            return self.peers
        return [name for name in self.peers if name == "ours" or (self.pinned and name in _QUICK_YARDSTICKS)]


def _loaded(kind: str, work: _Work) -> _Run:
    def run(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
        with bed.running(peer) as running:
            return work(bed.through(running, kind), lengths.seconds)

    return run


def _check(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    with bed.running(peer) as running:
        return checked(bed.through(running, "digest"), lengths.check)


def _idle(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    with bed.running(peer) as running:
        return idle(bed.through(running, "first"), lengths.seconds / 4, lengths.idle)


def _scale(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.scale:
        with bed.running(peer) as running:
            talker = bed.through(running, "echo")
            sample = idle(bed.through(running, "first"), lengths.seconds, count, talker)
            found.update(
                {f"{count:,}: {figure}": sample[figure] for figure in ("KiB each", "idle CPU, ms/s", "p50, µs")}
            )
    return found


def _more_names(count: int) -> list[str]:
    return [f"broker-{number}.names.bench.test" for number in range(count)]


def _start(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.starts:
        with bed.running(peer, _more_names(count)) as running:
            assert running is not None
            found[f"{count:,} names: s"] = running.seconds
            found[f"{count:,} names: MiB"] = running.memory / (1 << 20)
    return found


def _names(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.names:
        with bed.running(peer, _more_names(count)) as running:
            sample = tunnels(bed.through(running, "first"), lengths.seconds, CONCURRENT)
            found[f"{count:,} names: proxy CPU, µs"] = sample["proxy CPU, µs"]
            found[f"{count:,} names: tunnels/s"] = sample["tunnels/s"]
    return found


def _choice(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    # Imported here because the clients' processes do not need it.
    from bench.choice import costs

    return costs(lengths.names, int(20_000 * lengths.seconds))


def _workers(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in (1, 2):
        with bed.running(peer, workers=count) as running:
            for sample in (
                tunnels(bed.through(running, "first"), lengths.seconds, CONCURRENT),
                echoes(bed.through(running, "echo"), lengths.seconds, CONCURRENT),
            ):
                found.update({f"{count}: {figure}": value for figure, value in sample.items() if "/s" in figure})
    return found


def _refusals(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    if peer is None or peer.name != "ours":
        raise LoadError(f"{SKIPPED}refusals are configured for our proxy only")
    found = {}
    for what, name, more in (("at accept", "first.bench.test", _ONE), ("no route", "nobody.bench.test", "")):
        with bed.running(with_toml(peer, more=more)) as running:
            assert running is not None
            destination = Destination(running.port, client_hello(name), running.pids)
            sample = refused(destination, lengths.seconds, CONCURRENT)
            found.update({f"{what}: {figure}": sample[figure] for figure in ("proxy CPU, µs", "refusals/s")})
    return found


_ONE = "[limits]\nrate_per_client = 0.001\nburst_per_client = 1\n"
"""Refuses all clients but the first, which is the check that the proxy listens."""


def _threads(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in (1, 2):
        ours = peer is not None and peer.name == "ours"
        threads = with_toml(peer, f"relay_threads = {count}\n") if peer is not None and ours else peer
        with bed.running(threads, workers=1 if ours else count) as running:
            if ours and (running is None or running.relay != ENGINE):
                raise LoadError(f"{SKIPPED}the engine does not serve, and only it has threads")
            for sample in (
                echoes(bed.through(running, "echo"), lengths.seconds, CONCURRENT),
                bulk(bed.through(running, "sink"), lengths.seconds, CONCURRENT),
            ):
                found.update({f"{count}: {figure}": value for figure, value in sample.items() if "/s" in figure})
    return found


_QUICK_YARDSTICKS = "haproxy", "haproxy-log"
_LINE = ("ours", *OTHERS, DIRECT)
_OURS = ("ours", "ours-python", "ours-before")
_BESIDE = (*_OURS, DIRECT)
_PINNED = (*_OURS, "haproxy", "nginx", "envoy", DIRECT)
_SERVERS = ("ours", "haproxy", "nginx", "envoy")
_LOGGING = ("haproxy-log", "nginx-log")

_LOADS = (
    Case("bulk1", "Bulk, 1 stream", _loaded("sink", partial(bulk, streams=1)), "MB/s", True, _LINE),
    Case("bulk16", "Bulk, 16 streams", _loaded("sink", partial(bulk, streams=16)), "MB/s", True, _LINE),
    Case("echo1", "64-byte echo, 1 connection", _loaded("echo", echo), "p50, µs", False, _LINE),
    Case(
        "echo16",
        "64-byte echo, 16 connections",
        _loaded("echo", partial(echoes, connections=CONCURRENT)),
        "messages/s",
        True,
        _LINE,
    ),
    Case(
        "tunnels",
        "New tunnels",
        _loaded("first", partial(tunnels, at_once=CONCURRENT)),
        "tunnels/s",
        True,
        (*_LINE, *_LOGGING),
    ),
)


def _pinned(case: Case) -> Case:
    peers = (*_PINNED, *_LOGGING) if case.name == "tunnels" else _PINNED
    return evolve(case, name=f"{case.name}-pinned", title=f"{case.title}, one CPU", peers=peers, pinned=True)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("check", "Whether all arrives", _check, "", True, (*_OURS, *OTHERS, *_LOGGING)),
        *map(_pinned, _LOADS),
        Case(
            "instructions",
            "Instructions in user space",
            instructions,
            "a message",
            False,
            (*_OURS, "haproxy"),
            rounds=1,
        ),
        Case(
            "meanwhile", "An echo beside other work", meanwhile, "nothing: p99, ms", False, (*_OURS, DIRECT), rounds=3
        ),
        Case("reload", "An echo beside a reload", reload, "", False, _BESIDE, rounds=3),
        *_LOADS,
        Case("idle", "Memory of an idle tunnel", _idle, "KiB each", False, (*_OURS, *OTHERS)),
        Case("scale", "Cost by the number of tunnels", _scale, "1,000: KiB each", False),
        Case("start", "From the start to listening", _start, "10,000 names: s", False),
        Case("names", "New tunnels by the number of names", _names, "10 names: proxy CPU, µs", False),
        Case("choice", "Choice of a route, in process", _choice, "10 names: exact, µs", False, ("ours",)),
        Case("refusals", "Refused clients", _refusals, "at accept: proxy CPU, µs", False, ("ours",)),
        Case(
            "proxy-protocol",
            "New tunnels with a PROXY protocol header",
            headers,
            "v2: proxy CPU, µs",
            False,
            ("ours",),
            pinned=True,
        ),
        Case(
            "header-instructions",
            "Instructions in user space, with a PROXY protocol header",
            header_instructions,
            "v2: instructions",
            False,
            ("ours",),
            rounds=1,
        ),
        Case("workers", "1 and 2 workers", _workers, "2: tunnels/s", True, _SERVERS),
        Case("threads", "1 and 2 relay threads", _threads, "2: messages/s", True, ("ours", "haproxy")),
    )
}
"""The cases by name, in the order in which they run."""
