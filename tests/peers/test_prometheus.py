"""The alerts and the dashboard of etc/ with Debian's Prometheus: promtool's checks, and alerts of real proxies."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.pulsar.commands import write
from sniproxy.pulsar.commands_pb2 import CommandPing
from tests.peers.needs import require
from tests.peers.prometheus import Prometheus, Repeated
from tests.peers.watched import Registry, Sink, Watched
from tests.server.workers.running import Running, configuration
from tests.support import monitoring
from tests.support.hellos import TLS13, alpn

LISTENER = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
COMMAND_TIMEOUT_S = 120.0

PROVOKED = {
    "test_brokers": {"SniproxyBrokerDown", "SniproxyConnectsFail"},
    "test_resolvers": {
        "SniproxyResolverFailing",
        "SniproxyResolverBreakerOpen",
        "SniproxyResolverRefreshFailing",
    },
    "test_connecting": {"SniproxyNearMaxConnecting"},
    "test_limits": {"SniproxyNearMaxConnections", "SniproxyNearOpenFiles", "SniproxyAcceptPaused"},
    "test_logs": {"SniproxyAccessLogLost", "SniproxyEventLogLost"},
    "test_refusals": {"SniproxyRefusalsRise"},
    "test_faults": {"SniproxyFaultsOnPurpose"},
    "test_operations": {"SniproxyReloadRefused", "SniproxyDrainForgotten"},
    "test_stop": {"SniproxyDrainingTooLong", "SniproxyGone", "SniproxyRestarts"},
    "test_absent": {"SniproxyAbsent"},
    "test_silence": {"SniproxyNoTraffic"},
    "test_blocked": {"SniproxyWorkerMissing"},
}
"""The alerts that each test sees firing, and then resolved."""


def route(name: str, target: str) -> str:
    """A route table."""
    return f'[[route]]\nserver_name = "{name}"\ntarget = "{target}"\n'


def resolved(name: str, resolver: str) -> str:
    """A route table with a resolver."""
    return f'[[route]]\nserver_name = "{name}"\nresolver = "{resolver}"\n'


class PromtoolTests(SynchronousTestCase):
    """promtool's checks."""

    def setUp(self) -> None:
        """Skip the tests without Prometheus."""
        require("promtool")

    def run_promtool(self, *arguments: str, given: str = "") -> str:
        """Run promtool in etc/prometheus. Asserts that it succeeds. Returns its output."""
        done = subprocess.run(
            ["promtool", *arguments], cwd=monitoring.RULES.parent, input=given, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_rules(self) -> None:
        """The rules are valid, and none is there twice."""
        said = self.run_promtool("check", "rules", "--lint=all", "--lint-fatal", monitoring.RULES.name)
        self.assertIn(f"{len(monitoring.alerts())} rules found", said)

    def test_tests(self) -> None:
        """The tests of the rules pass."""
        self.assertIn("SUCCESS", self.run_promtool("test", "rules", monitoring.RULES_TEST.name))

    def test_configuration(self) -> None:
        """The scrape configuration is valid, with the rules that it names."""
        said = self.run_promtool("check", "config", "--lint=all", "--lint-fatal", monitoring.SCRAPING.name)
        self.assertIn("1 rule files found", said)

    def test_metrics(self) -> None:
        """promtool finds no fault in the metrics of a real proxy."""
        require("setpriv")
        sink = Sink(self)
        proxy = Watched(self, LISTENER + route("a.test", sink.address))
        with proxy.open("a.test"):
            self.assertEqual("", self.run_promtool("check", "metrics", given=proxy.metrics()))


class AlertTestCase(SynchronousTestCase):
    """A test that provokes alerts."""

    def setUp(self) -> None:
        """Skip the test without Prometheus."""
        require("prometheus", "prlimit", "setpriv")

    def scrape(self, *targets: str) -> Prometheus:
        """Start Prometheus, and wait until it has scraped all targets."""
        self.prometheus = Prometheus(self, targets)
        self.alerts = self.prometheus.alerts
        for target in targets:
            self.alerts.wait("Started", instance=target)
        return self.prometheus

    def expect(self, firing: bool = True) -> dict[str, dict[str, Any]]:
        """Wait until all alerts of the test fire, or are resolved. Returns them by name."""
        return {name: self.alerts.wait(name, firing) for name in sorted(PROVOKED[self._testMethodName])}


class AlertTests(AlertTestCase):
    """Each alert fires for its cause, and is resolved without it."""

    def test_complete(self) -> None:
        """Each alert of the rules file has a test."""
        provoked = [name for names in PROVOKED.values() for name in names]
        self.assertEqual(sorted(alert["alert"] for alert in monitoring.alerts()), sorted(provoked))

    def test_brokers(self) -> None:
        """A broker stops, and starts again."""
        sink = Sink(self)
        checks = '[health]\ncheck = "tcp"\ninterval = 1\nrise = 1\nfall = 1\n'
        proxy = Watched(self, LISTENER + route("a.test", sink.address) + checks)
        self.scrape(proxy.admin)
        self.alerts.wait("TargetUp", target=sink.address)
        sink.close()
        connecting = Repeated(self, lambda: proxy.refused("a.test"))
        said = self.expect()["SniproxyBrokerDown"]["annotations"]
        self.assertEqual(f"target {sink.address} is down or ejected", said["summary"])
        self.assertTrue(said["description"].startswith("1 instances"), said)
        connecting.stop()
        Sink(self, sink.port)
        self.expect(firing=False)

    def test_resolvers(self) -> None:
        """A resolver's service fails, another resolver's file is broken, and both are mended."""
        sink, registry = Sink(self), Registry(self)
        names = Path(self.mktemp()).absolute()
        names.write_text(f'"a.w.test" = "{sink.address}"\n')
        proxy = Watched(
            self,
            LISTENER + resolved("*.r.test", "r") + resolved("*.w.test", "w") +
            f'[resolver.r]\ntype = "http"\nurl = "{registry.url}"\n'
            f'[resolver.w]\ntype = "file"\npath = "{names}"\nformat = "toml"\n',
        )  # fmt: skip
        self.scrape(proxy.admin)
        counter = iter(range(1_000_000))

        def ask() -> None:
            number = next(counter)
            proxy.refused(f"b{number % 50}.r.test", client=f"127.0.1.{number % 8 + 1}")

        Repeated(self, ask)
        names.write_text("not TOML")
        self.expect()
        registry.body = b'{"targets": []}'  # an answer, too
        names.write_text(f'"b.w.test" = "{sink.address}"\n')
        self.expect(firing=False)

    def test_connecting(self) -> None:
        """The service of two routes' resolver does not answer, and then does."""
        registry = Registry(self, b'{"targets": []}', silent=True)
        waiting = f'[resolver.s]\ntype = "http"\nurl = "{registry.url}"\ndeadline = 300\n'
        limits = "[limits]\nmax_connecting = 12\n[timeouts]\nconnect = 300\n"
        proxy = Watched(self, LISTENER + resolved("*.s.test", "s") + resolved("*.t.test", "s") + waiting + limits)
        self.scrape(proxy.admin)
        for number in range(20):
            sock = proxy.open(f"a{number}.{'st'[number // 10]}.test")
            self.addCleanup(sock.close)
        self.expect()
        registry.release()
        self.expect(firing=False)

    def test_limits(self) -> None:
        """A proxy with few open files gets more clients than it can serve; they leave."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        sink = Sink(self)
        proxy = Watched(self, LISTENER + route("a.test", sink.address), before=["prlimit", "--nofile=1024:1024"])
        self.scrape(proxy.admin)
        clients = [proxy.open("a.test") for _ in range(490)]
        for client in clients:
            self.addCleanup(client.close)
        self.assertEqual("descriptors", self.expect()["SniproxyAcceptPaused"]["labels"]["limit"])
        for client in clients:
            client.close()
        self.expect(firing=False)

    def test_logs(self) -> None:
        """Both logs are on a full disk, while connections and events make lines."""
        sink = Sink(self)
        proxy = Watched(
            self,
            LISTENER + route("a.test", sink.address) +
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{sink.address}"\n'
            '[access_log]\npath = "/dev/full"\n[inspect_log]\npath = "/dev/full"\ncommands = ["PING"]\n',
        )  # fmt: skip
        self.scrape(proxy.admin)
        long = (*TLS13, alpn(*(bytes((number + 65,)) * 255 for number in range(16))))

        def refuse() -> None:
            for _ in range(20):
                proxy.refused("nobody.test", extensions=long)

        refusing = Repeated(self, refuse)
        plain = proxy.open(None, "plain")
        self.addCleanup(plain.close)
        pinging = Repeated(self, lambda: plain.sendall(write(CommandPing()) * 1000))
        self.expect()
        refusing.stop()
        pinging.stop()
        self.expect(firing=False)

    def test_refusals(self) -> None:
        """After a quiet time, a client asks for a name without a route all the time, and stops."""
        proxy = Watched(self, LISTENER + route("a.test", "127.0.0.1:9"))
        self.scrape(proxy.admin)
        self.alerts.wait("HasHistory")
        refusing = Repeated(self, lambda: proxy.refused("nobody.test"))
        self.assertEqual("no_route", self.expect()["SniproxyRefusalsRise"]["labels"]["result"])
        refusing.stop()
        self.expect(firing=False)

    def test_faults(self) -> None:
        """Faults are made on purpose, until no client comes any more."""
        fault = '[[fault]]\nfrom = "client"\nafter_bytes = 1\naction = "half_close"\n'
        proxy = Watched(self, LISTENER + route("a.test", Sink(self).address) + fault)
        self.scrape(proxy.admin)
        connecting = Repeated(self, lambda: proxy.refused("a.test"))
        self.expect()
        connecting.stop()
        self.expect(firing=False)

    def test_operations(self) -> None:
        """A reload is refused, and succeeds; a target is drained and undrained by the command of the runbook."""
        proxy = Watched(self, LISTENER + route("a.test", "127.0.0.1:9"))
        self.scrape(proxy.admin)
        proxy.config.write_text("not TOML")
        proxy.signal(signal.SIGHUP)
        proxy.drain("127.0.0.1:9")
        self.assertEqual("127.0.0.1:9", self.expect()["SniproxyDrainForgotten"]["labels"]["name"])
        proxy.config.write_text(proxy.text)
        proxy.signal(signal.SIGHUP)
        proxy.drain("127.0.0.1:9", "--undo")
        self.expect(firing=False)

    def test_stop(self) -> None:
        """A proxy drains for long, is gone, and then restarts too often."""
        sink = Sink(self)
        proxy = Watched(self, LISTENER + route("a.test", sink.address) + "[timeouts]\ndrain = 3600\n")
        self.scrape(proxy.admin)
        with proxy.open("a.test"):
            self.alerts.wait("Relayed")
            proxy.signal(signal.SIGTERM)
            self.alerts.wait("SniproxyDrainingTooLong")
            proxy.kill()
        self.alerts.wait("SniproxyDrainingTooLong", firing=False)
        gone = self.alerts.wait("SniproxyGone")
        self.assertEqual((proxy.admin, "127.0.0.1"), (gone["labels"]["instance"], gone["labels"]["host"]))
        for number in (1, 2, 3):
            proxy.start()
            self.alerts.wait("Restarted", value=str(number))
            if number < 3:
                proxy.kill()
        self.alerts.wait("SniproxyRestarts")
        self.expect(firing=False)

    def test_absent(self) -> None:
        """Prometheus has no target, and then one."""
        proxy = Watched(self, LISTENER + route("a.test", "127.0.0.1:9"))
        self.scrape()
        self.expect()
        self.prometheus.retarget([proxy.admin])
        self.expect(firing=False)

    def test_silence(self) -> None:
        """Traffic ends, and begins again."""
        sink = Sink(self)
        proxy = Watched(self, LISTENER + route("a.test", sink.address))
        self.scrape(proxy.admin)
        with proxy.open("a.test") as client:
            self.alerts.wait("Relayed")
            client.sendall(b"x" * 1000)
            self.alerts.wait("Grew")
            self.assertIn("on 127.0.0.1 has", self.expect()["SniproxyNoTraffic"]["annotations"]["summary"])
            client.sendall(b"x" * 1000)
            self.expect(firing=False)


class WorkerTests(AlertTestCase, TestCase):
    """A proxy with workers."""

    def test_blocked(self) -> None:
        """A worker is stopped; the supervisor replaces it. The proxy still answers, so it is not gone."""
        running = Running(self, configuration(self))
        self.scrape(running.admin)
        os.kill(running.pids[1], signal.SIGSTOP)
        said = self.expect()["SniproxyWorkerMissing"]["annotations"]["summary"]
        self.assertEqual(f"worker 1 of sniproxy {running.admin} does not answer", said)
        self.expect(firing=False)
        self.assertNotIn("SniproxyGone", self.alerts.seen())
