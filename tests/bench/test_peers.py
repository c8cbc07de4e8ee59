"""The configurations of the proxies."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.peer import DIRECT, Plan
from bench.peers import OTHERS, PEERS, dlundquist, envoy, haproxy, nginx, said_versions


class PeerTests(SynchronousTestCase):
    """Their files and commands."""

    def configured(self, start: Callable[[str, Plan], list[str]], workers: int = 1) -> tuple[list[str], str, Path]:
        """A peer's command, its main file, and the folder."""
        folder = Path(self.mktemp())
        folder.mkdir()
        plan = Plan(folder, 4443, {"echo.bench.test": 4000, "sink.bench.test": 4001}, ["more.bench.test"], workers)
        command = start("/program", plan)
        return (
            command,
            Path(command[-1] if "-c" not in command else command[command.index("-c") + 1]).read_text(),
            folder,
        )

    def test_haproxy(self) -> None:
        """HAProxy splices, reads the name, and has it in a map."""
        command, text, folder = self.configured(haproxy, 2)
        self.assertEqual(command[:3], ["/program", "-db", "-f"])
        for part in ("option splice-auto", "nbthread 2", "mode tcp", "req_ssl_sni", "bind 127.0.0.1:4443 "):
            self.assertIn(part, text)
        names = (folder / "names.map").read_text().split()
        self.assertEqual(names[names.index("more.bench.test") + 1], names[names.index("echo.bench.test") + 1])
        self.assertIn(f"backend {names[names.index('sink.bench.test') + 1]}\n  server one 127.0.0.1:4001", text)

    def test_nginx(self) -> None:
        """nginx reads the name, has a large buffer, and supports half-close; its workers share a port."""
        _, text, _ = self.configured(nginx)
        for part in (
            "ssl_preread on;",
            "proxy_buffer_size 64k;",
            "proxy_half_close on;",
            "worker_processes 1;",
            "more.bench.test 127.0.0.1:4000;",
            "listen 127.0.0.1:4443 backlog=4096;",
        ):
            self.assertIn(part, text)
        self.assertIn(" reuseport;", self.configured(nginx, 2)[1])

    def test_logs(self) -> None:
        """HAProxy and nginx write a line for each connection only if asked to."""
        for start, word in ((haproxy, "option tcplog"), (nginx, "access_log ")):
            self.assertNotIn(word, self.configured(start)[1])
            _, text, folder = self.configured(partial(start, log=True))
            self.assertIn(word, text)
        self.assertIn(f"access_log {folder}/access.log", text)

    def test_envoy(self) -> None:
        """Envoy has a filter chain with all names for each target, and the requested threads."""
        command, text, _ = self.configured(envoy)
        self.assertEqual(command[command.index("--concurrency") + 1], "1")
        (listener,) = json.loads(text)["static_resources"]["listeners"]
        self.assertEqual(
            [chain["filter_chain_match"]["server_names"] for chain in listener["filter_chains"]],
            [["more.bench.test", "echo.bench.test"], ["sink.bench.test"]],
        )

    def test_dlundquist(self) -> None:
        """Its names are anchored expressions, and it stays in the foreground."""
        command, text, _ = self.configured(dlundquist)
        self.assertIn("-f", command)
        self.assertIn(r"  ^echo\.bench\.test$ 127.0.0.1:4000", text)

    def test_versions(self) -> None:
        """Installed peers have a version."""
        with patch.dict(PEERS, nginx=evolve(PEERS["nginx"], program=lambda: None)):
            found = said_versions(("ours", "nginx", DIRECT))
        self.assertEqual(list(found), ["ours"])
        self.assertIn("sniproxy ", found["ours"])

    def test_known(self) -> None:
        """All peers are known by name, with the package that provides them."""
        self.assertLessEqual(set(OTHERS), set(PEERS))
        self.assertIn("sniproxy ", PEERS["ours"].said_version())
