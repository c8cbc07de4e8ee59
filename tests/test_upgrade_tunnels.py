"""Upgrades of the real program with tunnels open: none is cut, no byte is wrong, and every new client is served.

`make upgrade-demo` does the same with more tunnels, 100 times.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from bench.ours import with_toml
from bench.running import Running
from bench.upgrade import measure
from bench.upgradeload import Load
from bench.upgradeprocesses import NAME
from bench.upgradeways import stop, wait_until, ways
from tests.support.packages import missing

TUNNELS, UPGRADES = 30, 5


class UpgradeTests(SynchronousTestCase):
    """Tunnels of all kinds, and new clients, while the program is replaced several times."""

    timeout = 300

    def check(self, name: str, upgrades: int = UPGRADES) -> str | None:
        """Replace the proxy, and check that nothing was lost. @return: the relay that served."""
        found = measure(ways()[name], TUNNELS, upgrades, settle_s=0, leave_s=60)
        self.assertEqual(([], [], {}), (found.lost, found.wrong, dict(found.failed)))
        self.assertEqual((upgrades, 0), (found.upgrades, found.left))
        self.assertGreater(found.new, 0)
        return found.relay

    @skipIf(missing("sniproxy.relay._engine")[0], "the native relay is not built: make engine")
    def test_engine(self) -> None:
        """Tunnels of the engine move from process to process."""
        self.assertEqual("engine", self.check("ours"))

    def test_python(self) -> None:
        """Tunnels of the Python relay move from process to process."""
        self.assertEqual("python", self.check("ours-python"))

    def test_workers(self) -> None:
        """The supervisor and its workers are replaced, with all tunnels."""
        self.check("ours-workers", 2)

    def test_records(self) -> None:
        """The access log has each connection once, with all its bytes, whichever processes it was in."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        log = folder / "access.jsonl"
        way = ways()["ours"]
        peer = with_toml(way.peer, more=f'[access_log]\npath = "{log}"\n')
        load = Load(folder, TUNNELS)
        self.addCleanup(load.stop)
        running = Running(peer, {NAME: load.port})
        self.addCleanup(stop, running)
        load.open(running.port)
        for _ in range(UPGRADES):
            way.upgrade(running)
        seen = load.end()
        self.assertEqual(([], [], {}), (seen.lost, seen.wrong, dict(seen.failed)))

        def records() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            return [line for line in lines if line["server_name"] == NAME]

        wait_until(lambda: len(records()) >= seen.tunnels + seen.new, "the records of all connections")
        self.assertEqual(["ok"] * (seen.tunnels + seen.new), [line["result"] for line in records()])
        bytes_of = {line["client"]: (line["bytes_up"], line["bytes_down"]) for line in records()}
        wanted = {f"127.0.0.1:{one.port}": one.wire for one in load.outcomes}
        self.assertEqual(wanted, {client: bytes_of[client] for client in wanted})
