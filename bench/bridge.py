"""Benchmark of the bridge: ``python -m bench.bridge [--quick] [--write]``.

The broker speaks TLS. *Direct* and *proxy*: a TLS client to the broker, or through the proxy. *Bridge*: a plain client
through a bridge and the proxy. The paths are measured in turn, and ratios are of the same round.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import trustme

from bench import ROOT
from bench.exchange import NAME, Broker, ClientPath, consume, produce, round_trip
from bench.measure import environment, ratios, spread
from bench.proxy import Proxy
from bench.table import markdown, write_into
from bench.traffic import messages
from bench.traffic import produce as made

DOCUMENT = ROOT / "bench" / "RESULTS.md"
GB = 1e9
SIZES = (("1 kB", 1_000), ("16 kB", 16_000), ("128 kB", 128_000))
WAYS = ("direct", "proxy", "bridge")

PROXY = """
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
name = "proxy"
[[route]]
server_name = "{name}"
target = "127.0.0.1:{port}"
[access_log]
path = "/dev/null"
"""
BRIDGE = """
[[bridge]]
endpoint = "tcp:0:interface=127.0.0.1"
name = "bridge"
service_url = "pulsar+ssl://{name}:{port}"
proxy_service_url = "pulsar+ssl://127.0.0.1:{proxy}"
proxy_protocol = "SNI"
trust = "{trust}"
allow = ["{name}:{port}"]
[access_log]
path = "/dev/null"
"""


class BridgeTestBed:
    """A broker, a proxy and a bridge, each in a process, and the paths through them.

    ``streams``: by command, the bytes of a cycle, and a function that sends cycles along a path.
    """

    def __init__(self, stack: ExitStack, size: int, cycle: int) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = trustme.CA()
        trust, certificate = folder / "ca.pem", folder / "broker.pem"
        authority.cert_pem.write_to_path(trust)
        authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(certificate)
        traffic, delivered = made(size, cycle), messages(size, cycle)
        broker = Broker(certificate, traffic, delivered)
        stack.callback(broker.stop)

        def send(way: ClientPath, cycles: int) -> float:
            return produce(way, broker.port, traffic, cycles)

        def take(way: ClientPath, cycles: int) -> float:
            return consume(way, broker.port, delivered, cycles)

        self.streams: dict[str, tuple[int, Callable[..., float]]] = {
            "SEND": (len(traffic.frames), send),
            "MESSAGE": (len(delivered), take),
        }
        self.one_by_one = functools.partial(round_trip, broker=broker.port, traffic=traffic)
        proxy = Proxy(PROXY.format(name=NAME, port=broker.port), "auto")
        stack.callback(proxy.stop)
        port = proxy.ports["proxy"]
        self.bridge = Proxy(BRIDGE.format(name=NAME, port=broker.port, proxy=port, trust=trust), "auto")
        stack.callback(self.bridge.stop)
        self.ways = {
            "direct": ClientPath(broker.port, trust),
            "proxy": ClientPath(port, trust),
            "bridge": ClientPath(self.bridge.ports["bridge"], None),
        }

    def measure(
        self, work: Callable[[ClientPath], float], rounds: int
    ) -> tuple[Mapping[str, list[float]], list[float]]:
        """Results of each path by round, and CPU seconds of the bridge. A first round, which warms up, is left out."""
        found: dict[str, list[float]] = {name: [] for name in WAYS}
        cpu = []
        for number in range(rounds + 1):
            for name, way in self.ways.items():
                before = self.bridge.cpu
                value = work(way)
                if number:
                    found[name].append(value)
                    if name == "bridge":
                        cpu.append(self.bridge.cpu - before)
        return found, cpu


def throughput(rounds: int, total: int, cycle: int) -> str:
    """The table of MB/s, each number from ``rounds`` runs of ``total`` bytes."""
    rows: dict[str, list[tuple[str, ...]]] = {"SEND": [], "MESSAGE": []}
    for label, size in SIZES:
        with ExitStack() as stack:
            course = BridgeTestBed(stack, size, cycle)
            for kind, (length, run) in course.streams.items():
                cycles = max(1, round(total / length))
                found, cpu = course.measure(functools.partial(run, cycles=cycles), rounds)
                costs = spread([seconds / (cycles * length / GB) for seconds in cpu])
                speeds = [str(spread([value / 1e6 for value in found[name]])) for name in WAYS]
                ratio = ratios(found["bridge"], found["proxy"])
                rows[kind].append((f"{kind}, {label}", *speeds, str(ratio), str(costs)))
                _say(f"{kind}, {label}: bridge {ratio} times the proxy, {costs} CPU-s a GB")
    heads = ("stream", "direct, MB/s", "proxy, MB/s", "bridge, MB/s", "bridge / proxy", "bridge, CPU-s a GB")
    return markdown(heads, rows["SEND"] + rows["MESSAGE"])


def latency(rounds: int, count: int) -> str:
    """The table of round trips, each number from ``rounds`` runs of ``count``."""
    with ExitStack() as stack:
        course = BridgeTestBed(stack, 1_000, 1)
        found, _ = course.measure(functools.partial(course.one_by_one, count=count), rounds)
    cells = [str(spread([1e6 * value for value in found[name]])) for name in WAYS]
    return markdown(
        ("round trip", "direct, µs", "proxy, µs", "bridge, µs"), [("a SEND of 1 kB and its receipt", *cells)]
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Print the tables, with ``--write`` write them into the manual."""
    quick, write = "--quick" in arguments, "--write" in arguments
    rounds, total, cycle, count = (1, 30_000_000, 2_000_000, 300) if quick else (5, 400_000_000, 16_000_000, 2000)
    began = time.monotonic()
    said = (
        f"Measured by `make bench` on {environment()};\nthe median of {rounds} runs (lowest-highest). Clients, broker, "
        f"proxy and bridge share these CPUs.\n\n{throughput(rounds, total, cycle)}\n{latency(rounds, count)}"
    )
    print(said)
    _say(f"in {time.monotonic() - began:.0f} s")
    if write:
        write_into(DOCUMENT, "bridge", said)


if __name__ == "__main__":
    main(sys.argv[1:])
