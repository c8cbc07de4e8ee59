"""Tests for sniproxy.server.workers.supervisor with real processes: one admin endpoint for all workers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from sniproxy.server.workers.admin.metrics import parse
from tests.admin.token import TOKEN
from tests.server.workers.case import NAME, WorkersCase, route
from tests.server.workers.running import Running, configuration
from tests.support.proxies import Backend
from tests.support.sockets import read_to_end


class FaultTests(WorkersCase):
    """Faults on purpose."""

    def test_sums(self) -> None:
        """Each worker makes faults, and counts for itself; the endpoint has the sums."""
        backend = Backend(self)
        fault = '[[fault]]\nname = "first"\naction = "reset"\nafter_bytes = 1\n'
        running = Running(self, configuration(self, route(backend) + fault))
        tunnels = self.tunnels(running, backend)
        self.assertEqual({0, 1}, set(tunnels))
        for client, upstream in tunnels.values():
            upstream.sendall(b"xy")
            with self.assertRaises(ConnectionResetError):
                while client.recv(1):
                    pass
        found = json.loads(running.ask("/faults"))
        [first] = found["faults"]
        self.assertEqual(("first", 2, {"reset": 2}), (first["name"], first["applied"], found["counts"]))
        self.assertIn(b'sniproxy_faults_total{action="reset"} 2', running.ask("/metrics"))
        self.assertIn("each of 2 workers counts for itself", running.finish(signal.SIGINT)[1])


class AdminTests(WorkersCase):
    """The admin endpoint of two workers."""

    def setUp(self) -> None:
        token = Path(self.mktemp())
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.backend = Backend(self)
        path = configuration(self)
        path.write_text(f'{path.read_text()}token_file = "{token.absolute()}"\n{route(self.backend)}')
        self.running = Running(self, path)

    def metrics(self) -> dict[str, float]:
        """The samples of C{/metrics}."""
        found = parse(self.running.ask("/metrics").decode())
        return {key: value for family in found.values() for key, value in family.samples.items()}

    def change(self, path: str) -> Any:
        """The answer to a change."""
        return json.loads(self.running.ask(path, "POST", TOKEN))

    def wait_until_up(self) -> None:
        """Ask until both workers answer: the supervisor reads a worker's log before its report."""
        while any(one["error"] for one in self.running.status()["workers"]):
            pass

    def test_sums(self) -> None:
        """Tunnels, status and metrics are those of both workers; counts of a worker that dies are not lost."""
        tunnels = self.tunnels(self.running, self.backend)
        for client, upstream in tunnels.values():
            client.sendall(b"x" * 1000)
            upstream.recv(1000, 256)  # MSG_WAITALL
        status, before = self.running.status(), self.metrics()
        self.assertEqual(len(status["tunnels"]), status["live"])
        self.assertEqual(self.running.pids, {one["index"]: one["pid"] for one in status["workers"]})
        self.assertEqual(
            [one["connections"] for one in status["workers"]],
            [before[f'sniproxy_worker_connections{{worker="{index}"}}'] for index in (0, 1)],
        )
        self.assertEqual(status["live"], before[f'sniproxy_tunnels{{listener="public",route="{NAME}"}}'])
        self.assertEqual(
            (1.0, 1.0, 2.0),
            tuple(before[f"sniproxy_{name}"] for name in ('worker_up{worker="0"}', 'worker_up{worker="1"}', "workers")),
        )
        self.assertEqual(
            {"worker"} | set(status["tunnels"][0]), set(json.loads(self.running.ask("/tunnels"))["tunnels"][0])
        )
        os.kill(self.running.pids[1], signal.SIGKILL)
        self.running.wait_for("worker 1: ready:")
        self.wait_until_up()
        after = self.metrics()
        for key, value in before.items():
            if ("_total" in key or "_bucket" in key) and not key.startswith("sniproxy_worker_"):
                self.assertGreaterEqual(after[key], value, key)
        self.assertEqual(0.0, after['sniproxy_worker_connections{worker="1"}'])

    def test_drain(self) -> None:
        """A drain ends the tunnels of both workers, and a restarted worker has it before it accepts."""
        tunnels = self.tunnels(self.running, self.backend)
        drained = self.change(f"/drain?name={NAME}&rate=1000")
        self.assertEqual(("route", 1000.0, {}), (drained["kind"], drained["rate"], drained["missing"]))
        for client, _ in tunnels.values():
            self.assertEqual(b"", read_to_end(client))
        os.kill(self.running.pids[0], signal.SIGKILL)
        self.running.wait_for("worker 0: draining route")
        self.running.wait_for("worker 0: listener public")
        self.running.wait_for("worker 0: ready:")
        self.wait_until_up()
        for _ in range(20):  # some of them reach the restarted worker
            self.refused(self.running.port, NAME)
        (drain,) = self.running.status()["drains"]
        self.assertEqual((1000.0, drained["since"], 0), (drain["rate"], drain["since"], drain["left"]))
        self.assertLessEqual(20, drain["refused"])
        self.change(f"/undrain?name={NAME}")
        self.assertEqual([], self.running.status()["drains"])
        self.tunnel(self.running, self.backend)

    def test_blocked(self) -> None:
        """A worker that is blocked is named, and the rest is served."""
        os.kill(self.running.pids[1], signal.SIGSTOP)
        try:
            status = self.running.status()
        finally:
            os.kill(self.running.pids[1], signal.SIGCONT)
        self.assertEqual("did not answer within 5 s", status["workers"][1]["error"])
        self.assertIn("worker 1 did not answer within 5 s: it is left out", status["warnings"])
        said = self.running.finish(signal.SIGTERM)[1]
        self.assertNotIn("Traceback", said)
