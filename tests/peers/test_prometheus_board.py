"""What the dashboard and the alerts query exists in Prometheus, when it has scraped a proxy that does everything."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.commands import write
from sniproxy.pulsar.commands_pb2 import CommandLookupTopicResponse, ServerError
from tests.peers.needs import require
from tests.peers.prometheus import Prometheus
from tests.peers.watched import Registry, Sink, Watched
from tests.support import monitoring
from tests.support.lookups import ASK, answer
from tests.support.monitoring import fill_variables, read_query
from tests.support.sockets import TIMEOUT_S

FAILED = write(
    CommandLookupTopicResponse(
        request_id=7, response=CommandLookupTopicResponse.Failed, error=ServerError.ServiceNotReady, message="no"
    )
)
ANSWERS = (answer("broker-1.test"), answer("broker-2.test"), FAILED)
"""The topic moves, then a lookup fails."""

CONFIGURATION = """
[[listener]]
name = "public"
endpoint = "tcp:0:interface=127.0.0.1"
[[listener]]
name = "plain"
endpoint = "tcp:0:interface=127.0.0.1"
plaintext = true
inspect = "pulsar"
target = "{broker}"
[[route]]
server_name = "one.test"
target = "{sink}"
max_connections = 1
[[route]]
server_name = "fault.test"
target = "{sink}"
[[fault]]
server_name = "fault.test"
from = "client"
after_bytes = 1
action = "half_close"
[[route]]
server_name = "down.test"
target = "127.0.0.1:9"
[[route]]
server_name = "*.r.test"
resolver = "r"
[resolver.r]
type = "http"
url = "{url}"
[[route]]
server_name = "*.w.test"
resolver = "w"
[resolver.w]
type = "file"
path = "names.map"
[timeouts]
hello = 300
[health]
check = "tcp"
interval = 1
fall = 1
"""

UNSEEN = {"ALERTS": "no alert fires for this proxy at once"}
"""Metrics that a scrape need not have."""

WITH_WORKERS = {"worker_up", "worker_connections", "worker_cpu_seconds_total", "worker_start_time_seconds"}
"""Metrics of a supervisor, which has a label C{worker}; C{tests.server.workers.admin} has them."""


class Broker:
    """A plaintext broker that answers the lookups of one client."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        case.addCleanup(self._listening.close)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> None:
        """Answer in a thread; health checks send nothing."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self._listening.settimeout(TIMEOUT_S)
        waiting = list(ANSWERS)
        while waiting:
            sock, _ = self._listening.accept()
            sock.settimeout(TIMEOUT_S)
            with sock:
                while waiting and sock.recv(len(ASK), socket.MSG_WAITALL):
                    sock.sendall(waiting.pop(0))


class BoardTests(SynchronousTestCase):
    """A proxy with targets, resolvers, refusals, limits, a drain, and inspected lookups."""

    def setUp(self) -> None:
        """Skip the test without Prometheus."""
        require("prometheus", "setpriv")

    def busy(self) -> Watched:
        """Start the proxy, and use every part of it once."""
        sink, broker, registry = Sink(self), Broker(self), Registry(self, b'{"targets": []}')
        text = CONFIGURATION.format(broker=broker.address, sink=sink.address, url=registry.url)
        proxy = Watched(self, text, files={"names.map": f"a.w.test {sink.address}\n"})
        broker.serve()
        silent, tunnel = proxy.open(None), proxy.open("one.test")
        self.addCleanup(silent.close)
        self.addCleanup(tunnel.close)
        for name in ("one.test", "fault.test", "down.test", "nobody.test", "a.r.test", "b.w.test"):
            proxy.refused(name)
        with proxy.open(None, "plain") as client:
            for reply in ANSWERS:
                client.sendall(ASK)
                self.assertEqual(reply, client.recv(len(reply), socket.MSG_WAITALL))
        foreign = urllib.request.Request(f"http://{proxy.admin}/metrics", headers={"Host": "foreign.test"})
        self.assertRaises(urllib.error.HTTPError, urllib.request.urlopen, foreign, timeout=TIMEOUT_S)
        proxy.drain("127.0.0.1:9")
        return proxy

    def test_series(self) -> None:
        """Each metric of the dashboard and of the rules exists, with the labels of the queries and legends.

        Prometheus evaluates each query of the dashboard.
        """
        proxy = self.busy()
        prometheus = Prometheus(self, [proxy.admin])
        prometheus.alerts.wait("Relayed")
        queries = [(alert["alert"], alert["expr"], "") for alert in monitoring.alerts()]
        queries += [
            (title, fill_variables(expression), legend) for title, expression, legend in monitoring.board_queries()
        ]
        missing: dict[str, set[str]] = {}
        for place, expression, legend in queries:
            prometheus.ask("query", query=expression)
            query = read_query(expression)
            available: set[str] = set()
            for one in query.selectors:
                if one.name.removeprefix("sniproxy_") in WITH_WORKERS:
                    available |= {"job", "instance", "worker"}
                elif one.name not in UNSEEN:
                    labels = prometheus.labels(one.name)
                    available |= labels
                    if not labels or one.labels - labels:
                        missing.setdefault(place, set()).update({one.name} | one.labels - labels)
                else:
                    available |= {"job"}
            wanted = query.grouping | set(monitoring.shown(legend))
            if wanted - available:
                missing.setdefault(place, set()).update(wanted - available)
        self.assertEqual({}, missing)
