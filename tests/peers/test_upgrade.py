"""Real clients produce and consume while the proxy is upgraded: their connections stay, and all messages arrive.

With PEERS_LONG=1 (`make peers-long`) there are more upgrades.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.upgradeways import kill
from sniproxy.cli.adminclient import fetch_status
from tests.peers import clients, geo, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Sender
from tests.peers.cluster import free_ports
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require
from tests.peers.proxy import Proxy

#: How many upgrades follow each other, with how many messages of each client and topic between two.
UPGRADES, COUNT = (30, 200) if os.environ.get("PEERS_LONG") == "1" else (3, 50)
#: What clients log when they have lost a connection.
LOST = {
    "java": re.compile(r"Will try again|Closed connection|Disconnected"),
    "python": re.compile(r"[Rr]econnect|Connection closed|Lost connection"),
}


class UpgradeTests(PulsarTestCase):
    """Clients of one cluster, with one proxy."""

    def upgradable(self, routes: Mapping[str, Sequence[str]], port: int = 0, more: str = "", top: str = "") -> Proxy:
        """Start a proxy with an admin endpoint; all its processes end with the test."""
        socket = self.lab.new_folder() / "admin.sock"
        admin = f'[admin]\nendpoint = "unix:{socket}:mode=600"\n'
        proxy = Proxy(self.lab.new_folder(), routes, port, admin + more, top=top)
        self.addCleanup(proxy.stop)
        self.addCleanup(kill, proxy.config.parent)
        self.admin = f"unix:{socket}"
        return proxy

    def upgrade(self, proxy: Proxy) -> None:
        """Upgrade it by the command."""
        program = str(Path(sys.executable).with_name("sniproxyctl"))
        command = [program, "upgrade", "--config", str(proxy.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def tunnels(self) -> set[tuple[str, str, str]]:
        """The id of each tunnel, with the client's address and the server name."""
        status = fetch_status(self.admin)
        return {(tunnel["id"], tunnel["client"], tunnel["name"]) for tunnel in status["tunnels"]}

    def traffic(self, proxy: Proxy, name: str) -> geo.Traffic:
        """Two Java clients that send to each other through a proxy, and log each lost connection."""
        topics = list(self.lab.cluster.topic_of_each(f"public/default/{name}").values())
        traffic = geo.Traffic(self.lab.material.trust, topics, [(SERVICE_NAME, proxy)] * 2, "info")
        self.addCleanup(traffic.stop)
        traffic.go()
        traffic.wait_until_crossing(COUNT)
        return traffic

    def check_java(self, name: str, top: str = "") -> None:
        """Assert that Java clients keep their connections, and that all messages arrive in order.

        `top`: the first lines of the proxy's configuration.
        """
        (port,) = free_ports(1)
        proxy = self.upgradable(lab.routes(self.lab.cluster), port, top=top)
        traffic = self.traffic(proxy, name)
        before = self.tunnels()
        for _ in range(UPGRADES):
            self.upgrade(proxy)
            traffic.wait_until_crossing(COUNT)
        self.assertEqual(before, self.tunnels())
        self.assertEqual([], self.lost("java", traffic.log))
        report = traffic.finish()
        self.assertEqual((0, 0, 0), (report["missing"], report["misordered"], report["duplicates"]), report)
        self.assertEqual(report["crossed"], report["sent"])

    def test_restart(self) -> None:
        """A restart is not an upgrade: the clients' log has what the other tests do not find in it."""
        routes = lab.routes(self.lab.cluster)
        (port,) = free_ports(1)
        first = self.upgradable(routes, port, "[timeouts]\ndrain = 0\n")
        traffic = self.traffic(first, "restarted")
        before = self.tunnels()
        first.stop()
        self.upgradable(routes, port)
        traffic.wait_until_crossing(COUNT)
        self.assertTrue(self.lost("java", traffic.log))
        self.assertEqual(set(), before & self.tunnels())

    def test_java(self) -> None:
        """Two clients, with the relay that the proxy chooses."""
        self.check_java("upgraded")

    def test_python_relay(self) -> None:
        """The same with the relay in Python."""
        self.check_java("upgraded-python-relay", 'relay = "python"\n')

    def test_workers(self) -> None:
        """The same with a supervisor and two workers."""
        self.check_java("upgraded-workers", "workers = 2\n")

    def test_python(self) -> None:
        """The Python client keeps its connections, whose records are in the access log once, with all their bytes."""
        require(parts=["python"])
        cluster = self.lab.cluster
        proxy = self.upgradable(lab.routes(cluster))
        topics = list(cluster.topic_of_each("public/default/upgraded-python").values())[:1]
        options = self.options(proxy, endless=True, timeout=60, log="Info")
        sender = Sender(clients.python_client(options, topics))
        self.addCleanup(sender.stop)
        sender.wait_until_sending()
        before = self.tunnels()
        for _ in range(UPGRADES):
            self.upgrade(proxy)
            sender.wait_until_sending()
        self.assertEqual(before, self.tunnels())
        self.assertEqual([], self.lost("python", sender.log))
        self.assert_all_came_back(sender.finish(), topics)
        logged = proxy.connections(lambda log: len(log) >= len(before))
        self.assertEqual(before, {(line["id"], line["client"], line["server_name"]) for line in logged})
        self.assertEqual({"ok"}, {line["result"] for line in logged})

    def lost(self, client: str, log: Sequence[str]) -> list[str]:
        """The lines that tell of a lost connection."""
        return [line for line in log if LOST[client].search(line)]
