"""Our proxy as a peer."""

from __future__ import annotations

import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import ROOT, pythons
from bench.ours import our_log, our_peer, ours, with_toml
from bench.peer import Peer, Plan


class OursTests(SynchronousTestCase):
    """Its file, its command and its log."""

    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return folder

    def command(self, peer: Peer, workers: int = 1) -> list[str]:
        routes = {"echo.bench.test": 4000, "sink.bench.test": 4001}
        return peer.start("/program", Plan(self.folder(), 4443, routes, (), workers))

    def test_command(self) -> None:
        """It is the usual program, run by the chosen Python; its file has no workers unless there are several."""
        command = self.command(our_peer("x", "it"))
        self.assertEqual(command[:4], [pythons.chosen().program, "/program", "-n", "--pidfile="])
        found = tomllib.loads(Path(command[-1]).read_text())
        self.assertEqual(set(found), {"listener", "timeouts", "route"})
        self.assertEqual(found["listener"][0]["endpoint"], "tcp:4443:interface=127.0.0.1")
        routes = {route["server_name"]: route["target"] for route in found["route"]}
        self.assertEqual(routes["sink.bench.test"], "127.0.0.1:4001")
        command = self.command(our_peer("x", "it"), workers=2)
        self.assertEqual(tomllib.loads(Path(command[-1]).read_text())["workers"], 2)

    def test_toml(self) -> None:
        """Its file can have more at both ends; a named relay is asked for there."""
        peer = with_toml(our_peer("x", "it", "python"), "workers = 3\n", "[limits]\nrate_per_client = 1\n")
        found = tomllib.loads(Path(self.command(peer)[-1]).read_text())
        self.assertEqual((found["workers"], found["relay"], found["limits"]), (3, "python", {"rate_per_client": 1}))
        self.assertEqual(peer.name, "x")

    def test_log(self) -> None:
        """Its log says whether it is ready and which relay serves. Another relay than the named one is refused."""
        folder = self.folder()
        peer = our_peer("x", "it", "engine")
        self.assertEqual(our_log(folder), "")
        self.assertFalse(peer.ready(folder))
        (folder / "log").write_text("12:00 [-] worker 0: ready: 1 route\n")
        self.assertFalse(peer.ready(folder))  # the supervisor has no admin endpoint yet
        (folder / "log").write_text("12:00 [-] relay: python: not built\n12:00 [-] ready: 1 route\n")
        self.assertTrue(peer.ready(folder))
        self.assertEqual(peer.relay(folder), "python")
        self.assertEqual(peer.lacks(folder), "not the engine relay: the python relay serves")
        self.assertIsNone(our_peer("x", "it").lacks(folder))

    def test_root(self) -> None:
        """The code of its folder comes first on the path, then its own folder, for plugins."""
        root = self.folder()
        peer = our_peer("x", "it", root=lambda: root)
        path = peer.environment(Path("/files"))["PYTHONPATH"].split(":")
        self.assertEqual(path[:2], [str(root), "/files"])
        self.assertEqual(our_peer("x", "it").root(), ROOT)
        self.assertTrue(callable(ours))
