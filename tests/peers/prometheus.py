"""Debian's Prometheus: it scrapes proxies, evaluates the alerts of etc/ in a faster time, and notifies the test."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.children import Child
from tests.support import monitoring

TIMEOUT_S = 120.0
"""Seconds to wait for an alert, on a machine that may be busy."""

INTERVAL = "500ms"
FASTER = 60
"""A minute of the rules is a second here."""

MIN_RANGE_S, MAX_DELAY_S = 5, 10
"""Ranges need several scrapes; no C{for} is longer than the second."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

PROBES = """
groups:
  - name: probes
    rules:
      - alert: Started
        expr: up{job="sniproxy"} == 1
      - alert: Restarted
        expr: changes(process_start_time_seconds{job="sniproxy"}[1h]) > 0
        labels: {value: '{{ printf "%.0f" $value }}'}
      - alert: Relayed
        expr: sum by (job, host) (sniproxy_bytes_total) > 0
      - alert: Grew
        expr: sum by (job, host) (increase(sniproxy_bytes_total[1h])) > 0
      - alert: HasHistory
        expr: count_over_time(sniproxy_ready[1h]) > 100
      - alert: TargetUp
        expr: sniproxy_target_up == 1
"""
"""Alerts by which a test learns what Prometheus has scraped."""


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]


def faster(rules: str) -> str:
    """The text of a rules file in which a minute is a second, so that alerts fire and resolve soon."""

    def shorter(match: re.Match[str]) -> str:
        durations = [f"{max(_seconds(one) // FASTER, MIN_RANGE_S)}s" for one in match[1].split(":")]
        return f"[{':'.join(durations)}]"

    parsed = yaml.safe_load(rules)
    for group in parsed["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[([^\]]+)\]", shorter, rule["expr"])
            if "for" in rule:
                rule["for"] = f"{min(_seconds(rule['for']) // FASTER, MAX_DELAY_S)}s"
    text: str = yaml.safe_dump(parsed)
    return text


class Notified:
    """In the place of Alertmanager: keeps the alerts that Prometheus sends. @ivar address: C{host:port}."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self._news = threading.Condition()
        self._latest: dict[str, dict[str, Any]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._receive(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)

    def _receive(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        now = datetime.now(UTC)
        with self._news:
            for alert in alerts:
                ends = datetime.fromisoformat(re.sub(r"\.\d+", "", alert["endsAt"]).replace("Z", "+00:00"))
                key = json.dumps(alert["labels"], sort_keys=True)
                self._latest[key] = {**alert, "firing": ends > now}
            self._news.notify_all()

    def wait(self, name: str, firing: bool = True, **labels: str) -> dict[str, Any]:
        """Wait until an alert fires, or until all such alerts are resolved. Returns the alert, or the last one.

        Raises AssertionError after L{TIMEOUT_S}.
        """
        deadline = time.monotonic() + TIMEOUT_S
        with self._news:
            while True:
                found = [
                    alert
                    for alert in self._latest.values()
                    if {"alertname": name, **labels}.items() <= alert["labels"].items()
                ]
                states = {alert["firing"] for alert in found}
                if found and (True in states if firing else states == {False}):
                    return next(alert for alert in found if alert["firing"] is firing)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{name} {'does not fire' if firing else 'is not resolved'}: {self.firing()}")
                self._news.wait(left)

    def firing(self) -> set[str]:
        """The names of the proxy's alerts that fire."""
        with self._news:
            names = {one["labels"]["alertname"] for one in self._latest.values() if one["firing"]}
        return {name for name in names if name.startswith("Sniproxy")}

    def seen(self) -> set[str]:
        """The names of the proxy's alerts that have fired."""
        with self._news:
            names = {one["labels"]["alertname"] for one in self._latest.values()}
        return {name for name in names if name.startswith("Sniproxy")}


class Prometheus:
    """Scrapes proxies by etc/prometheus/prometheus.yml, with these targets. @ivar alerts: what it notifies."""

    def __init__(self, case: SynchronousTestCase, targets: Sequence[str]) -> None:
        folder = Path(case.mktemp()).absolute()
        folder.mkdir()
        self.alerts = Notified(case)
        (folder / "faster.rules.yml").write_text(faster(monitoring.RULES.read_text()))
        (folder / "probes.rules.yml").write_text(PROBES)
        self._file = folder / "prometheus.yml"
        self._settings = settings = yaml.safe_load(monitoring.SCRAPING.read_text())
        settings["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
        settings["rule_files"] = ["faster.rules.yml", "probes.rules.yml"]
        settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self.alerts.address]}]}]}
        self._write(targets)
        command = ["prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'data'}"]
        self._process = Child([*command, "--web.listen-address=127.0.0.1:0"], cwd=folder)
        case.addCleanup(self._process.stop)
        said = self._process.wait_for_text('msg="Listening on"')
        self._url = f"http://{said.rpartition('address=')[2]}/api/v1"
        self._process.wait_for_text("Starting rule manager")

    def _write(self, targets: Sequence[str]) -> None:
        self._settings["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
        self._file.write_text(yaml.safe_dump(self._settings))

    def retarget(self, targets: Sequence[str]) -> None:
        """Scrape other targets."""
        self._write(targets)
        self._process.process.send_signal(signal.SIGHUP)

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API. Raises AssertionError for an error."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def labels(self, metric: str) -> set[str]:
        """The labels of a metric's series; empty if there is none."""
        return {label for series in self.ask("series", **{"match[]": metric}) for label in series} - {"__name__"}


class Repeated:
    """Calls a function in a thread, at least ten times a second, until `stop`. Errors of sockets are ignored."""

    def __init__(self, case: SynchronousTestCase, call: Callable[[], object]) -> None:
        self._stopped = threading.Event()
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        case.addCleanup(self.stop)

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            try:
                self._call()
            except OSError:
                pass

    def stop(self) -> None:
        """Stop, and wait for the call. Can be repeated."""
        self._stopped.set()
        self._thread.join()
