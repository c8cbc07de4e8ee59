"""Tests for sniproxy.server.workers.admin.owned."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__
from sniproxy.admin.upgrades import OldProcess
from sniproxy.config.parser import parse
from sniproxy.server.workers.admin.metrics import parse as parse_metrics
from sniproxy.server.workers.admin.owned import OwnMetrics
from sniproxy.server.workers.admin.state import SupervisorState

CONFIGURATION = 'workers = 3\n[[listener]]\nendpoint = "tcp:4443"\n'
WORKER = (
    "# TYPE sniproxy_listener_connections gauge\n"
    'sniproxy_listener_connections{listener="a"} 2\nsniproxy_listener_connections{listener="b"} 3\n'
    "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.5\n"
    "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 100\n"
)


class OwnMetricsTests(SynchronousTestCase):
    """OwnMetrics: what the supervisor knows, and each worker as a whole."""

    def test_all(self) -> None:
        """The state of the proxy, and one value of each worker that has answered."""
        state = SupervisorState(parse(CONFIGURATION, "a.toml"), lambda: 1.0)
        state.ready = True
        state.reload_failed("no")
        state.find_old_processes = lambda: [OldProcess(7, 3), OldProcess(8, 1)]
        workers = {2: parse_metrics(WORKER), 0: parse_metrics("")}
        found = parse_metrics(OwnMetrics(state, {"host": 4}, workers).text())
        samples = {key: value for one in found.values() for key, value in one.samples.items()}
        ours = {key: value for key, value in samples.items() if not key.startswith("process_")}
        self.assertEqual(
            {
                f'sniproxy_info{{version="{__version__}"}}': 1.0,
                "sniproxy_ready": 1.0,
                "sniproxy_workers": 3.0,
                "sniproxy_old_process_tunnels": 4.0,
                'sniproxy_reloads_total{result="failed"}': 1.0,
                'sniproxy_reloads_total{result="succeeded"}': 0.0,
                "sniproxy_last_reload_successful": 0.0,
                'sniproxy_admin_refused_total{cause="host"}': 4.0,
                'sniproxy_worker_up{worker="0"}': 1.0,
                'sniproxy_worker_up{worker="1"}': 0.0,
                'sniproxy_worker_up{worker="2"}': 1.0,
                'sniproxy_worker_connections{worker="2"}': 5.0,
                'sniproxy_worker_start_time_seconds{worker="2"}': 100.0,
                'sniproxy_worker_cpu_seconds_total{worker="2"}': 1.5,
            },
            ours,
        )
        self.assertIn("process_cpu_seconds_total", samples)
