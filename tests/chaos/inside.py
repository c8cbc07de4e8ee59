"""A run, in a user and network namespace: ``python -m tests.chaos.inside OPTIONS``. See L{tests.chaos.__main__}.

It exits with 0 if each byte was right and each tunnel's end has a cause.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from attrs import define, field
from OpenSSL import SSL

from tests.chaos import proxies, wire
from tests.chaos.line import Quality, draw_cuts
from tests.chaos.load import Load, Outcome
from tests.chaos.proxies import HAPROXY, PORTS, WORKERS, Proxy, Way
from tests.chaos.records import Verdict, judge
from tests.chaos.table import table
from tests.chaos.trouble import Trouble

ENOUGH = 20
"""Tunnels of a proxy, of which at least half should finish."""

TUNNELS_TAKE_S = 10.0
"""Seconds with partitions in a run that counts tunnels, not seconds."""


@define
class Options:
    """What to run.

    ``seconds``: new tunnels are opened for so long; 0: ``tunnels`` of them. ``at_once``: concurrent ones.
    ``limit_s``: of a tunnel. ``trouble_s``: mean seconds between two troubles of workers; 0: none. ``cuts_s``: mean
    seconds between partitions; 0: none. ``longest_cut_s``: of these.
    """

    ways: Sequence[str]
    seed: int = 1
    seconds: float = 0.0
    tunnels: int = 0
    at_once: int = 40
    limit_s: float = 90.0
    trouble_s: float = 4.0
    cuts_s: float = 8.0
    longest_cut_s: float = 4.0
    quality: Mapping[str, float] = field(factory=dict)

    def more(self, number: int, until: float) -> bool:
        """Whether to open a tunnel with this number."""
        return time.monotonic() < until if self.seconds else number < self.tunnels


def contexts(folder: Path) -> tuple[SSL.Context, SSL.Context]:
    """TLS of clients, which verify their peer, and of targets."""
    client, server = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_SERVER_METHOD)
    client.load_verify_locations(str(folder / "ca.pem"))
    client.set_verify(SSL.VERIFY_PEER)
    server.use_certificate_chain_file(str(folder / "proxy.pem"))
    server.use_privatekey_file(str(folder / "proxy.pem"))
    return client, server


def run(options: Options, folder: Path) -> tuple[dict[str, list[Outcome]], dict[str, Verdict], str]:
    """Run all. @return: the outcomes and verdicts by way, and a line about packets and troubles."""
    cuts = draw_cuts(options.seed, options.seconds or TUNNELS_TAKE_S, options.cuts_s, options.longest_cut_s)
    line = wire.connect()
    proxies.write_certificates(folder)
    running = proxies.start([Way(name, PORTS[name]) for name in options.ways], line, folder)
    supervisors = [proxy.process.pid for proxy in running if proxy.way.name == WORKERS]
    trouble = Trouble(
        options.seed, options.trouble_s or 1, lambda: [pid for one in supervisors for pid in proxies.workers_of(one)]
    )
    if options.trouble_s and supervisors:
        Thread(target=trouble.run, daemon=True).start()
    load = Load([proxy.way.door for proxy in running], options.seed, options.limit_s, *contexts(folder))
    line.begin(Quality(**options.quality), cuts, options.seed)
    until = time.monotonic() + options.seconds
    outcomes = load.run(options.at_once, lambda number: options.more(number, until))
    trouble.end()
    for proxy in running:
        proxy.stop()
    counts = line.close()
    by_way = {name: [one for one in outcomes if one.door.name == name] for name in options.ways}
    verdicts = {proxy.way.name: _verdict(proxy, by_way[proxy.way.name], trouble) for proxy in running}
    total = Counter[str]()
    for each in counts.values():
        total.update(each)
    packets = ", ".join(f"{number:,} {what}" for what, number in total.most_common())
    said = f"packets: {packets}\nworkers: {len(trouble.kills)} killed, {trouble.stops} stopped; {len(cuts)} partitions"
    return by_way, verdicts, said


def _verdict(proxy: Proxy, outcomes: Sequence[Outcome], trouble: Trouble) -> Verdict:
    records: list[dict[str, Any]] | None = None
    if proxy.way.name != HAPROXY:
        records = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    verdict = judge(outcomes, records, trouble.kills if proxy.way.name == WORKERS else (), wire.CLIENTS)
    if len(outcomes) >= ENOUGH and verdict.finished < len(outcomes) / 2:
        verdict.faults.append(f"{proxy.way.name}: only {verdict.finished} of {len(outcomes)} tunnels finished")
    if "Traceback" in (said := proxy.said()):
        verdict.faults.append(f"{proxy.way.name} logged a traceback: {said[-3000:]}")
    return verdict


def main(text: str) -> int:
    options = Options(**json.loads(text))
    with tempfile.TemporaryDirectory() as folder:
        outcomes, verdicts, said = run(options, Path(folder))
    print(f"{table(outcomes, verdicts)}\n{said}", flush=True)
    faults = [fault for name, verdict in verdicts.items() if name != HAPROXY for fault in verdict.faults]
    for note in [note for verdict in verdicts.values() for note in verdict.notes][:50]:
        print(f"not opened: {note}")
    for fault in faults[:50]:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults; seed {options.seed}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(status)  # threads of targets may still wait
