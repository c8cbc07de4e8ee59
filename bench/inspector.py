"""Benchmark of the inspector: ``python -m bench.inspector [--quick] [--write]``.

Two tables. *Alone*: frames and bytes that the inspector reads per CPU second, without sockets. *Live*: CPU time of a
proxy per GB that a producer sends through a plaintext listener, with a SEND_RECEIPT for each SEND: inspected, with the
relay in Python, and with the relay that the proxy chooses. Configurations are measured in turn, and ratios are of the
same round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import ROOT
from bench.load import Broker, send
from bench.measure import Spread, environment, ratios, spread
from bench.proxy import Proxy
from bench.table import markdown, write_into
from bench.traffic import CYCLE, Produce, lookups, produce
from sniproxy.inspector.inspection import Inspection

DOCUMENT = ROOT / "bench" / "RESULTS.md"
READ = 65_536
GB = 1e9
SIZES = (("1 kB", 1_000), ("16 kB", 16_000), ("128 kB", 128_000))

Work = Callable[[], tuple[int, int]]
"""Work to be timed. Returns the number of frames and of bytes."""


def alone(rounds: int, enough: float, cycle: int = CYCLE) -> str:
    """The table of the inspector alone, each number from ``rounds`` runs of about ``enough`` seconds."""
    works = [(f"SEND, {label}", _reading(produce(size, cycle))) for label, size in SIZES]
    works.append(("SEND_RECEIPT", _reading_receipts(produce(1_000, cycle))))
    works.append(("lookups and answers, one a read", _looking_up(20_000)))
    rows = []
    for label, work in works:
        measured = [_rate(work, enough) for _ in range(rounds)]
        frames, megabytes = (spread(values) for values in zip(*measured, strict=True))
        rows.append((label, str(frames), str(megabytes)))
        _say(f"alone: {label}: {frames} frames/s")
    return markdown(("stream", "frames a CPU second", "MB a CPU second"), rows)


def _rate(work: Work, enough: float) -> tuple[float, float]:
    frames = size = 0
    began = time.process_time()
    spent = 0.0
    while not frames or spent < enough:
        more = work()
        frames, size, spent = frames + more[0], size + more[1], time.process_time() - began
    return frames / spent, size / 1e6 / spent


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def _reading(traffic: Produce) -> Work:
    pieces, count = _pieces(traffic.frames), len(traffic.ends)

    def work() -> tuple[int, int]:
        inspection = Inspection("bench")
        for piece in pieces:
            inspection.client(piece, 1.0)
        return count, len(traffic.frames)

    return work


def _reading_receipts(traffic: Produce) -> Work:
    pieces, count = _pieces(traffic.receipts), len(traffic.receipt_ends)

    def work() -> tuple[int, int]:
        inspection = Inspection("bench")
        for piece in pieces:
            inspection.broker(piece, 1.0)
        return count, len(traffic.receipts)

    return work


def _looking_up(count: int) -> Work:
    said = lookups(count)
    size = sum(len(question) + len(answer) for question, answer in said)

    def work() -> tuple[int, int]:
        inspection = Inspection("bench")
        for question, answer in said:
            inspection.client(question, 1.0)
            inspection.broker(answer, 1.0)
        return 2 * count, size

    return work


LISTENER = """
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
name = "{name}"
plaintext = true
target = "127.0.0.1:{port}"
"""
INSPECTED = 'inspect = "pulsar"\n[inspect_log]\npath = "/dev/null"\n'
WAYS = (("python", "python", ""), ("inspected", "python", INSPECTED), ("auto", "auto", ""))


def live(rounds: int, total: int, cycle: int = CYCLE) -> str:
    """The table of a live proxy, each number from ``rounds`` runs of ``total`` bytes."""
    rows = []
    for label, size in SIZES:
        found = _live(produce(size, cycle), rounds, total)
        python, inspected, auto = (found[name] for name, _, _ in WAYS)
        ratio = ratios(inspected, python)
        cells: Sequence[Spread] = (spread(python), spread(inspected), ratio, spread(auto))
        rows.append((f"SEND, {label}", *map(str, cells)))
        _say(f"live: {label}: inspected {ratio} times the relay in Python")
    heads = ("stream", "python, CPU-s a GB", "inspected, CPU-s a GB", "inspected / python", "auto, CPU-s a GB")
    return markdown(heads, rows)


def _live(traffic: Produce, rounds: int, total: int) -> dict[str, list[float]]:
    """CPU seconds per GB of each configuration, by round."""
    cycles = max(1, round(total / len(traffic.frames)))
    found: dict[str, list[float]] = {name: [] for name, _, _ in WAYS}
    with ExitStack() as stack:
        broker = Broker(traffic)
        stack.callback(broker.stop)
        proxies = {}
        for name, way, more in WAYS:
            proxies[name] = Proxy(LISTENER.format(name=name, port=broker.port) + more, way)
            stack.callback(proxies[name].stop)
            send(traffic, 1, proxies[name].ports[name])
        for _ in range(rounds):
            for name, proxy in proxies.items():
                before = proxy.cpu
                sent = send(traffic, cycles, proxy.ports[name])
                found[name].append((proxy.cpu - before) / (sent.bytes / GB))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Print the tables, with ``--write`` write them into the manual."""
    quick, write = "--quick" in arguments, "--write" in arguments
    rounds, total, enough, cycle = (1, 50_000_000, 0.1, 2_000_000) if quick else (7, 1_000_000_000, 1.0, CYCLE)
    began = time.monotonic()
    said = (
        f"Measured by `make bench` on {environment()};\nthe median of {rounds} runs (lowest-highest).\n\n"
        f"{live(rounds, total, cycle)}\n"
        f"The inspector alone, without sockets:\n\n{alone(rounds, enough, cycle)}"
    )
    print(said)
    _say(f"in {time.monotonic() - began:.0f} s")
    if write:
        write_into(Path(DOCUMENT), "inspector", said)


if __name__ == "__main__":
    main(sys.argv[1:])
