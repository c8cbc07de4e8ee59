"""The cases of the data path: what is done with each proxy, and which figures that gives.

A case starts a proxy for each run, fresh, and ends it. ``Lengths`` says how long and how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from attrs import evolve, frozen

from bench import ROOT
from bench.apart import LoadError
from bench.clients import Place, Sample, bulk, checked, echo, echoes, idle, refused, tunnels
from bench.peers import DIRECT, OTHERS, Peer, ours
from bench.running import Running
from bench.targets import KINDS, Target, client_hello


@frozen
class Lengths:
    """How much is done in a run: seconds of load, bytes of the check, idle tunnels, names."""

    seconds: float
    check: int
    idle: int
    scale: Sequence[int]
    starts: Sequence[int]
    names: Sequence[int]


FULL = Lengths(2.0, 32_000_000, 3_000, (100, 1_000, 3_000, 9_000), (10_000, 100_000), (10, 1_000, 100_000))
QUICK = Lengths(0.25, 4_000_000, 300, (100,), (1_000,), (10,))


class Grounds:
    """The targets of all kinds, and what leads to them."""

    def __init__(self, stack: ExitStack) -> None:
        self._hellos = {kind: client_hello(f"{kind}.bench.test") for kind in KINDS}
        self._ports = {}
        for kind, hello in self._hellos.items():
            target = Target(kind, len(hello))
            stack.callback(target.stop)
            self._ports[kind] = target.port
        self.routes: Mapping[str, int] = {f"{kind}.bench.test": port for kind, port in self._ports.items()}

    def through(self, running: Running | None, kind: str) -> Place:
        """To a target, through a proxy or (None) by the direct line."""
        if running is None:
            return Place(self._ports[kind], self._hellos[kind], ())
        return Place(running.port, self._hellos[kind], running.pids)

    @contextmanager
    def running(self, peer: Peer | None, more: Sequence[str] = (), workers: int = 1) -> Iterator[Running | None]:
        """A peer with all the routes, fresh. None: the direct line's."""
        if peer is None:
            yield None
            return
        running = Running(peer, self.routes, ROOT, more, workers)
        try:
            yield running
        finally:
            running.stop()


_Run = Callable[[Grounds, Peer | None, Lengths], Sample]
_Work = Callable[[Place, float], Sample]


@frozen
class Case:
    """What is done with each of ``peers`` in a run, and what is said of it.

    ``best``: the figure that tells which peer is the best, ``more``: whether it is the better the more it is.
    """

    name: str
    title: str
    run: _Run
    best: str
    more: bool
    peers: Sequence[str] = ("ours", *OTHERS)


def _loaded(kind: str, work: _Work) -> _Run:
    def run(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
        with grounds.running(peer) as running:
            return work(grounds.through(running, kind), lengths.seconds)

    return run


def _check(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    with grounds.running(peer) as running:
        return checked(grounds.through(running, "digest"), lengths.check)


def _idle(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    with grounds.running(peer) as running:
        return idle(grounds.through(running, "first"), lengths.seconds / 4, lengths.idle)


def _scale(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.scale:
        with grounds.running(peer) as running:
            talker = grounds.through(running, "echo")
            sample = idle(grounds.through(running, "first"), lengths.seconds, count, talker)
            found.update(
                {f"{count:,}: {figure}": sample[figure] for figure in ("KiB each", "idle CPU, ms/s", "p50, µs")}
            )
    return found


def _more_names(count: int) -> list[str]:
    return [f"broker-{number}.names.bench.test" for number in range(count)]


def _start(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.starts:
        with grounds.running(peer, _more_names(count)) as running:
            assert running is not None
            found[f"{count:,} names: s"] = running.seconds
            found[f"{count:,} names: MiB"] = running.memory / (1 << 20)
    return found


def _names(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in lengths.names:
        with grounds.running(peer, _more_names(count)) as running:
            sample = tunnels(grounds.through(running, "first"), lengths.seconds, _AT_ONCE)
            found[f"{count:,} names: proxy CPU, µs"] = sample["proxy CPU, µs"]
            found[f"{count:,} names: tunnels/s"] = sample["tunnels/s"]
    return found


def _choice(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    # Imported here: the clients' processes need none of it.
    from bench.choice import costs

    return costs(lengths.names, int(20_000 * lengths.seconds))


def _workers(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    found = {}
    for count in (1, 2):
        with grounds.running(peer, workers=count) as running:
            for sample in (
                tunnels(grounds.through(running, "first"), lengths.seconds, _AT_ONCE),
                echoes(grounds.through(running, "echo"), lengths.seconds, _AT_ONCE),
            ):
                found.update({f"{count}: {figure}": value for figure, value in sample.items() if "/s" in figure})
    return found


def _refusals(grounds: Grounds, peer: Peer | None, lengths: Lengths) -> Sample:
    if peer is None or peer.name != "ours":
        raise LoadError("what it refuses is configured for ours alone")
    found = {}
    for what, name, more in (("at accept", "first.bench.test", _ONE), ("no route", "nobody.bench.test", "")):
        with grounds.running(evolve(peer, start=partial(ours, more=more))) as running:
            assert running is not None
            place = Place(running.port, client_hello(name), running.pids)
            sample = refused(place, lengths.seconds, _AT_ONCE)
            found.update({f"{what}: {figure}": sample[figure] for figure in ("proxy CPU, µs", "refusals/s")})
    return found


_ONE = "[limits]\nrate_per_client = 0.001\nburst_per_client = 1\n"
"""Who looks whether the proxy listens is the only client that it takes."""

_AT_ONCE = 16
_LINE = ("ours", *OTHERS, DIRECT)

_SERVERS = ("ours", "haproxy", "nginx", "envoy")

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("check", "Whether all arrives", _check, "", True),
        Case("bulk1", "Bulk, 1 stream", _loaded("sink", partial(bulk, streams=1)), "MB/s", True, _LINE),
        Case("bulk16", "Bulk, 16 streams", _loaded("sink", partial(bulk, streams=16)), "MB/s", True, _LINE),
        Case("echo1", "64-byte echo, 1 connection", _loaded("echo", echo), "p50, µs", False, (*_LINE, "ours-kernel")),
        Case(
            "echo16",
            "64-byte echo, 16 connections",
            _loaded("echo", partial(echoes, connections=_AT_ONCE)),
            "messages/s",
            True,
            _LINE,
        ),
        Case("tunnels", "New tunnels", _loaded("first", partial(tunnels, at_once=_AT_ONCE)), "tunnels/s", True, _LINE),
        Case("idle", "Memory of an idle tunnel", _idle, "KiB each", False),
        Case("scale", "Cost by the number of tunnels", _scale, "1,000: KiB each", False),
        Case("start", "From the start to listening", _start, "10,000 names: s", False),
        Case("names", "New tunnels by the number of names", _names, "10 names: proxy CPU, µs", False),
        Case("choice", "Choice of a route, in process", _choice, "10 names: exact, µs", False, ("ours",)),
        Case("refusals", "Refused clients", _refusals, "at accept: proxy CPU, µs", False, ("ours",)),
        Case("workers", "1 and 2 workers", _workers, "2: tunnels/s", True, _SERVERS),
    )
}
"""By name, in the order in which they are run."""
