"""The real Java client produces while the proxy is reloaded, and while its broker is drained: nothing is lost."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.admin.token import token_file
from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import free_ports
from tests.peers.proxy import Proxy, configuration


class SurvivingTests(PulsarTestCase):
    """After a third of its messages the client requests a URL, during which the test acts."""

    def meanwhile(self, act: Callable[[], None]) -> str:
        """A URL: a PUT runs this function, and is answered when it returns."""
        failed: list[BaseException] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                try:
                    act()
                except BaseException as error:
                    failed.append(error)
                self.send_response(500 if failed else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()
            self.assertEqual([], failed)

        self.addCleanup(stop)
        return f"http://127.0.0.1:{server.server_port}/"

    def with_admin(self, routes: Mapping[str, Sequence[str]]) -> tuple[Proxy, str]:
        """Start a proxy. Returns it, and the URL of its admin endpoint."""
        port, admin = free_ports(2)
        self.token = token_file(self)
        more = f'[admin]\nendpoint = "tcp:{admin}:interface=127.0.0.1"\ntoken_file = "{self.token}"\n'
        return self.proxy({name: list(targets) for name, targets in routes.items()}, port, more), (
            f"http://127.0.0.1:{admin}"
        )

    def status(self, url: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{url}/status", timeout=20) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def test_reload(self) -> None:
        """Valid and invalid configurations alternate while a client produces: its connections stay, all messages
        arrive.
        """
        cluster = self.lab.cluster
        home = cluster.brokers[0]
        topic = cluster.topic_of_each("public/default/reloaded")[home.name]
        routes = lab.routes(cluster)
        proxy, url = self.with_admin(routes)
        more = proxy.config.read_text().partition("[admin]")[2]
        before: list[set[str]] = []

        def reload() -> None:
            before.append({tunnel["id"] for tunnel in self.status(url)["tunnels"]})
            for number in range(10):
                changed = {**routes, f"new-{number}.pulsar.test": ["127.0.0.1:9"]}
                text = configuration(changed, proxy.port, proxy.access_log) + f"[admin]{more}"
                for written, count in ((text, "succeeded"), ("colour = 1\n", "failed")):
                    proxy.config.write_text(written)
                    proxy.signal(signal.SIGHUP)
                    while self.status(url)["configuration"]["reloads"][count] <= number:
                        pass
            self.assertLessEqual(before[0], {tunnel["id"] for tunnel in self.status(url)["tunnels"]})

        outcome = self.java(proxy, [topic], n=3000, unload=self.meanwhile(reload))
        self.assert_all_came_back(outcome, [topic])
        self.assertEqual(204, outcome.reports[0]["unload_status"])
        self.assertTrue(before[0])
        reloads = self.status(url)["configuration"]["reloads"]
        self.assertEqual((10, 10), (reloads["succeeded"], reloads["failed"]))
        logged = proxy.connections(lambda log: len(log) >= 2)
        self.assertEqual({"ok"}, {line["result"] for line in logged})

    def test_drain(self) -> None:
        """A broker is drained while a client produces: it moves to the other broker, and all messages arrive."""
        cluster = self.lab.cluster
        home, away = cluster.brokers
        topic = cluster.topic_of_each("public/default/drained")[home.name]
        proxy, url = self.with_admin(lab.routes(cluster))
        target = f"127.0.0.1:{home.tls}"
        move = cluster.move_url(topic.removeprefix("persistent://"), away)

        def drain() -> None:
            program = str(Path(sys.executable).with_name("sniproxyctl"))
            urllib.request.urlopen(urllib.request.Request(move, method="PUT"), timeout=30).close()
            command = [program, "drain", target, "--admin", url, "--rate", "20/s", "--token-file", str(self.token)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
            self.assertIn("0 left", done.stdout)

        outcome = self.java(proxy, [topic], n=3000, unload=self.meanwhile(drain))
        self.assert_all_came_back(outcome, [topic])
        self.assertEqual(204, outcome.reports[0]["unload_status"])
        logged = proxy.connections(lambda log: any(line["target"] == f"127.0.0.1:{away.tls}" for line in log))
        drained = [line for line in logged if line["result"] == "drained"]
        self.assertEqual({target}, {line["target"] for line in drained})
        (status,) = self.status(url)["drains"]
        self.assertEqual((0, len(drained)), (status["left"], status["closed"]))
