"""Benchmark with real Pulsar: ``python -m bench.pulsar [--quick] [--write FILE]``.

Through this proxy, through HAProxy, and without a proxy.

The Java client produces to real brokers with TLS and ``proxyServiceUrl``. ``make peers`` fetches both. The topic is
non-persistent, so that no figure depends on this machine's disk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from twisted.trial.unittest import FailTest, SkipTest

from bench import results
from bench.childprocess import LoadError
from bench.clients import Sample
from bench.measure import environment
from bench.peer import DIRECT
from bench.peers import PEERS, said_versions
from bench.relays import note
from bench.report import case_of, table
from bench.results import Result, Runs
from bench.running import Running
from tests.peers import clients, lab, provide, versions
from tests.peers.cluster import Cluster
from tests.peers.jvm import java_command
from tests.peers.needs import require, require_private_hosts

SIZES: Mapping[str, tuple[int, int]] = {"1 kB": (1_000, 1_000), "100 kB": (100_000, 100)}
"""Bytes of a message, and messages per second while latency is measured."""

NAMES = ("ours", "haproxy", DIRECT)
ROUNDS = 9
_TOPIC = "non-persistent://public/default/load"


class Brokers:
    """Real brokers, which run until the program ends, and the client that produces to them."""

    def __init__(self) -> None:
        shared = lab.shared()
        self.cluster: Cluster = shared.cluster
        self._trust = shared.material.trust
        self._hosts = shared.new_folder() / "hosts"
        names = [broker.name for broker in self.cluster.brokers]
        clients.write_hosts(self._hosts, [self.cluster.service_name, *names])
        self.routes = {broker.name: broker.tls for broker in self.cluster.brokers}
        self.routes[self.cluster.service_name] = self.cluster.brokers[0].tls

    def produce(self, proxy: int | None, size: int, pace: int, seconds: float) -> Mapping[str, Any]:
        """The client's result of a run through a proxy's port; None: without a proxy. Raises `LoadError`."""
        options: dict[str, object] = {
            "url": f"pulsar+ssl://{self.cluster.service_name}:{self.cluster.brokers[0].tls}",
            "trust": self._trust,
            "verify": "true",
            "topics": _TOPIC,
            "size": size,
            "pace": pace,
            "seconds": seconds,
        }
        before: list[str] = []
        if proxy is not None:
            options["proxy"] = f"pulsar+ssl://127.0.0.1:{proxy}"
        else:
            # Without a proxy the client looks up the brokers' names itself, also in /etc/hosts.
            try:
                before = [*require_private_hosts(), str(self._hosts)]
            except SkipTest as reason:
                raise LoadError(str(reason))
        words = [f"{name}={value}" for name, value in options.items()]
        outcome = clients.run([*before, *java_command("PulsarLoad", "512m", "warn"), *words])
        if outcome.status or not outcome.reports:
            why = next((line for line in outcome.log.splitlines() if "Exception" in line), "it does not say why")
            raise LoadError(f"the client exited with status {outcome.status}: {why[:200]}")
        return outcome.reports[0]


def run(brokers: Brokers, name: str, size: str, seconds: float, seen: dict[str, str]) -> Sample:
    """One run: messages per second, latency, and CPU time of the proxy.

    ``seen``: the relay that served our proxy is noted here. Raises `LoadError`, also if another one served before.
    """
    bytes_, pace = SIZES[size]
    if name == DIRECT:
        return _figures(brokers.produce(None, bytes_, pace, seconds))
    running = Running(PEERS[name], brokers.routes)
    try:
        note(seen, name, running.relay)
        before = running.cpu
        said = brokers.produce(running.port, bytes_, pace, seconds)
        return {**_figures(said), "proxy CPU, µs/message": 1e6 * (running.cpu - before) / said["sent"]}
    finally:
        running.stop()


def _figures(said: Mapping[str, Any]) -> Sample:
    return {figure: float(said[figure]) for figure in ("messages/s", "p50, ms", "p99, ms")}


def measure(brokers: Brokers, size: str, rounds: int, seconds: float) -> Result:
    """Measure the peers in turn, round by round: ours beside HAProxy, so that both see the same state of the cluster.

    Every second round has the reverse order. A peer that fails is not measured again.
    """
    how = f"{rounds} pairs, {seconds:g} s at full rate and {seconds:g} s at {SIZES[size][1]:,} messages/s"
    result = Result(environment(), how, {name: Runs() for name in NAMES}, said_versions(NAMES))
    for number in range(rounds):
        turns = list(result.peers.items())
        for name, runs in turns if number % 2 == 0 else reversed(turns):
            if runs.failed is None:
                try:
                    runs.add(run(brokers, name, size, seconds, result.relays))
                except LoadError as error:
                    runs.failed = str(error)
    return result


def main(arguments: Sequence[str]) -> None:
    """Measure and print, with ``--write`` store the results."""
    parser = argparse.ArgumentParser("python -m bench.pulsar", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each, to see that it works")
    parser.add_argument("--write", type=Path, help="put what is measured into this file of results")
    chosen = parser.parse_args(arguments)
    try:
        require("java", "setpriv", parts=provide.needed(versions.current()))
    except (SkipTest, FailTest) as reason:
        raise SystemExit(str(reason))
    rounds, seconds = (1, 1.0) if chosen.quick else (ROUNDS, 5.0)
    with ExitStack() as stack:
        stack.callback(lab.shared().close)
        brokers = Brokers()
        for size in SIZES:
            # The first messages warm up the brokers, and count for no peer.
            with suppress(LoadError):
                run(brokers, "ours", size, seconds, {})
            name = f"pulsar {size}"
            result = measure(brokers, size, rounds, seconds)
            print(f"{table(case_of(name), result)}({result.how})\n", flush=True)
            if chosen.write:
                results.write(chosen.write, {**results.read(chosen.write), name: result})


if __name__ == "__main__":
    main(sys.argv[1:])
