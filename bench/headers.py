"""New tunnels of two listeners of one proxy, in turn: one reads a PROXY protocol header, one does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

from attrs import evolve

from bench.childprocess import SKIPPED, LoadError
from bench.clients import CONCURRENT, Destination, Sample, tunnels
from bench.instructions import callgrind, of_tunnel
from bench.measure import ratios
from bench.ours import with_toml
from bench.peer import Peer
from bench.running import Running, free_port
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1, write_v2

if TYPE_CHECKING:
    from bench.cases import Lengths, TestBed

_ADDRESS = Address("127.0.0.1", 50123)
_HEADERS = {"v1": write_v1(_ADDRESS, _ADDRESS), "v2": write_v2(_ADDRESS, _ADDRESS, {})}
_TURN_S = 0.5
"""Seconds of a turn of one listener. Short, so that a disturbance meets all of them."""


def headers(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    """CPU time of a tunnel, tunnels per second, and the ratios of both to those without a header."""
    found: Sample = {}
    with _listeners(bed, _ours(peer)) as (_, destinations):
        runs: dict[str, list[Sample]] = {what: [] for what in destinations}
        turns = max(1, round(lengths.seconds / _TURN_S))
        for _ in range(turns):
            for what, destination in destinations.items():
                runs[what].append(tunnels(destination, lengths.seconds / turns, CONCURRENT))
    for figure in ("proxy CPU, µs", "tunnels/s"):
        each = {what: [run[figure] for run in of] for what, of in runs.items()}
        found.update({f"{what}: {figure}": median(values) for what, values in each.items()})
        for what in _HEADERS:
            found[f"{what}: {figure}, times without"] = ratios(each[what], each["without"]).median
    return found


def header_instructions(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    """Instructions of a tunnel in user space; see `bench.instructions`. Raises `LoadError` without valgrind."""
    found: Sample = {}
    with _listeners(bed, _ours(peer), callgrind()) as (running, destinations):
        for what, destination in destinations.items():
            found[f"{what}: instructions"] = of_tunnel(running, destination, lengths.calls)
    for what in _HEADERS:
        found[f"{what}: instructions, times without"] = found[f"{what}: instructions"] / found["without: instructions"]
    return found


def _ours(peer: Peer | None) -> Peer:
    if peer is None or peer.name != "ours":
        raise LoadError(f"{SKIPPED}headers are configured for our proxy only")
    return peer


@contextmanager
def _listeners(
    bed: TestBed, ours: Peer, before: Sequence[str] = ()
) -> Iterator[tuple[Running, dict[str, Destination]]]:
    """Our proxy with both listeners, and where clients connect to, by what they send before the hello."""
    port = free_port()
    more = f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\nproxy_protocol = "required"\n'
    with bed.running(with_toml(ours, more=more), before=before) as running:
        assert running is not None
        plain = bed.through(running, "first")
        headed = {what: evolve(plain, port=port, hello=header + plain.hello) for what, header in _HEADERS.items()}
        yield running, {"without": plain, **headed}
