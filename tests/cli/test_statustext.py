"""Tests for sniproxy.cli.statustext."""

from __future__ import annotations

import copy

from msgspec.structs import asdict, replace
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__
from sniproxy.admin.documents import status_document
from sniproxy.admin.sources import ListenerStatus, RelayStatus, ResolverStatus, Status
from sniproxy.cli.rates import Rates
from sniproxy.cli.statustext import lines
from sniproxy.config.dump import dump_configuration
from sniproxy.config.parser import parse
from tests.support.fullconfig import TEXT
from tests.support.statusfixture import status


class TextTests(SynchronousTestCase):
    """The text of sniproxyctl status."""

    def test_configuration(self) -> None:
        """The current configuration is summarised: of many routes the first are shown."""
        configuration = parse(TEXT, "test.toml")
        configuration = replace(configuration, routes=configuration.routes * 100)
        listeners = [
            ListenerStatus(one.name, one.endpoint.text, ("192.0.2.1", at))
            for at, one in enumerate(configuration.entrances, 1)
        ]
        status = Status(True, 1.0, "test.toml", 2.0, listeners)
        totals = {"ended": 0, "refused": 0, "bytes_up": 0, "bytes_down": 0}
        document = status_document(status, (), totals, (), 3.0, 1000, 3, dump_configuration(configuration, 1000))
        self.assertEqual(f"sniproxy {__version__}, worker 3, ready, started 2 s ago", next(lines({"": document})))
        self.assertEqual(
            [
                "listener public: 192.0.2.1:1",
                "listener ends: 192.0.2.1:2, terminates TLS, inspected",
                "listener tap: 192.0.2.1:3, plaintext to 127.0.0.1:6640",
                "listener bridge: 192.0.2.1:4, bridge to pulsar+ssl://vip.test:6651 through proxy proxy.test:4443",
                "route a.test (on public): 10.0.0.7:6651, 10.0.0.8:6651 weight=2 (least connections)",
                "route *.b.test: {1}.inside.test:6651",
                "route c.test: resolver one, then resolver two",
            ],
            list(lines({"": document}))[3:10],
        )
        self.assertEqual(
            [
                "290 more routes",
                "other names: resolver one",
                "timeouts: hello 3.0, connect 10.0, idle 300.0, half_closed 60.0, drain 30.0, upgrade_drain 14400.0",
                "limits: rate_per_client 5.0, burst_per_client 5, exempt 10.1.0.0/16",
                "health: check tcp, interval 5.0, rise 2, fall 3, eject 0.0",
                "policy: allow_cidrs 10.0.0.0/8, allow_ports 6651, 6652",
            ],
            list(lines({"": document}))[17:23],
        )

    def test_resolvers(self) -> None:
        """Each resolver has a line: what it knows or was asked, and what is wrong."""
        counts = {"questions": 12, "failures": 0}
        resolvers = [
            ResolverStatus("pods", "kubernetes", counts, watch="2 endpoints"),
            ResolverStatus("names", "http", {**counts, "failures": 3}, "open"),
            ResolverStatus("new", "pulsar", counts, watch="nothing read yet", error="cannot connect: refused\n"),
        ]
        totals = {"ended": 0, "refused": 0, "bytes_up": 0, "bytes_down": 0}
        shown = Status(True, 1.0, "test.toml", 2.0, (), resolvers=resolvers)
        document = status_document(
            shown, (), totals, (), 3.0, 1000, None, dump_configuration(parse(TEXT, "a.toml"), 10)
        )
        self.assertEqual(
            [
                "resolver pods (kubernetes): 2 endpoints",
                "resolver names (http): queries: 12, 3 failed; the circuit breaker is open",
                "resolver new (pulsar): nothing read yet; error: cannot connect: refused\\n",
            ],
            [line for line in lines({"": document}) if line.startswith("resolver ")],
        )

    def test_relay(self) -> None:
        """The relay is named, with the reason if it is not the engine; older instances do not have it."""
        status = Status(True, 1.0, "test.toml", 2.0, [])
        totals = {"ended": 0, "refused": 0, "bytes_up": 0, "bytes_down": 0}
        settings = dump_configuration(parse(TEXT, "test.toml"), 1000)
        document = status_document(status, (), totals, (), 3.0, 1000, None, settings)
        for relay, expected in (
            (RelayStatus("engine", "", 2), "relay: engine, 2 threads"),
            (RelayStatus("python", "no engine here"), "relay: python: no engine here"),
            (RelayStatus(), "relay: python"),
        ):
            document["relay"] = asdict(relay)
            self.assertEqual(expected, list(lines({"": document}))[2])
        del document["relay"]
        self.assertNotIn("relay", "".join(lines({"": document})))

    def test_old_processes(self) -> None:
        """Old processes are listed with their tunnels, of all instances; older releases do not have them."""
        document = status()
        text = "\n".join(lines({"": {**document, "old_processes": []}, "b": document}))
        self.assertNotIn("old process", text)
        first = {**document, "old_processes": [{"pid": 7, "tunnels": 2, "ends": document["time"] + 7200}]}
        second = {**document, "old_processes": [{"pid": 8, "tunnels": 1, "ends": None}]}
        text = "\n".join(lines({"a": first, "b": second}))
        self.assertIn("\nold process 7: 2 tunnels, until they end, at most 2 h\n", text)
        self.assertIn("\nold process 8: 1 tunnel, until it ends\n", text)

    def test_faults(self) -> None:
        """Faults on purpose are listed with their counts; older releases do not have them."""
        one = {"name": "a", "action": "drop", "trigger": "PONG", "applied": 1, "matched": 4, "added": False}
        text = "\n".join(
            lines({"a": {**status(), "faults": [one, {**one, "name": "b", "added": True}]}, "b": status()})
        )
        self.assertIn("\nfault a: drop at PONG: applied 1 time, 4 matched\n", text)
        self.assertIn("\nfault b: drop at PONG: applied 1 time, 4 matched, added by a command\n", text)

    def test_targets(self) -> None:
        """The targets are a table; other targets of tunnels, which a client's name formed, are counted before it."""
        document = status()
        document["tunnels"][0]["target"] = "other.test:6651"
        text = list(lines({"": document}))
        self.assertIn("       1 of the newest 20  other.test:6651", text)
        (at,) = [at for at, line in enumerate(text) if line.startswith("target ")]
        self.assertTrue(text[at + 1].startswith("10.0.0.3:6651  down"))
        self.assertEqual("  connection refused", text[at + 2])

    def test_older_targets(self) -> None:
        """Of an older release, the targets with health are shown, and the tunnels of all targets counted."""
        document = copy.deepcopy(status())
        document["targets"] = [{"target": "a:1", "state": "down", "connections": 2, "why": "refused"}]
        text = list(lines({"": document}))
        self.assertIn("target a:1: down, 2 connections: refused", text)
        self.assertIn("       7 of the newest 20  10.0.0.1:6651", text)

    def test_rest(self) -> None:
        """Drains and warnings are lines; settings that limit nothing, and health checks that are off, are none."""
        document = status(warning_count=4)
        document["drains"] = [{
            "kind": "route", "name": "a.test", "since": 1.0, "rate": 5.0, "closed": 1, "refused": 0, "left": 2,
            "clients": [],
        }]  # fmt: skip
        document["configuration"] |= {"limits": {"rate_per_client": None}, "health": {"check": "", "eject": 0.0}}
        text = list(lines({"": document}))
        self.assertEqual(
            [
                "draining route a.test at 5/s: 1 closed, 2 left",
                "warning: timeouts.idle is below 60",
                "3 more warnings in the log of the proxy",
            ],
            text[-3:],
        )
        self.assertFalse([line for line in text if line.startswith(("limits", "health"))])

    def test_brief(self) -> None:
        """In brief there are no listeners, routes and settings."""
        text = list(lines({"": status()}, brief=True))
        self.assertFalse([line for line in text if line.startswith(("listener", "route", "timeouts", "policy"))])
        self.assertLess(len(text), len(list(lines({"": status()}))))

    def test_rates(self) -> None:
        """Rates are a line, if they are known."""
        rates = "per second: 12 new, 0.5 refused, 1.2MB up, -B down"
        self.assertIn(rates, list(lines({"": status()}, Rates(12.0, 0.5, 1_200_000.0))))
        self.assertNotIn("per second", " ".join(lines({"": status()})))
