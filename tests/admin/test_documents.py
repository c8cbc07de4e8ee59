"""Tests for sniproxy.admin.documents."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import asdict, replace
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__
from sniproxy.admin.documents import BATCH, serialize, status_document
from sniproxy.admin.livecounts import LiveCounts
from sniproxy.admin.recentrefusals import RecentRefusals
from sniproxy.admin.sources import (
    LimitsStatus,
    OldProcess,
    RelayStatus,
    Reloads,
    ResolverStatus,
    RouteStatus,
    TargetStatus,
)
from sniproxy.events import Proxied
from tests.admin.sample import NOW, SampleLive, SampleProxy, connection, refused
from tests.support.reference import keys, rows, words

TOTALS = {"ended": 3, "refused": 1, "bytes_up": 10, "bytes_down": 20}


def document(
    proxy: SampleProxy, most: int = 10, refusals: RecentRefusals | None = None, counts: LiveCounts | None = None
) -> dict[str, Any]:
    """The document as parsed by a client."""
    latest = (refusals or RecentRefusals()).latest()
    made = status_document(proxy.status(), proxy.live(), TOTALS, latest, NOW, most, counts=counts)
    read: dict[str, Any] = json.loads(b"".join(serialize(made)))
    return read


class StatusTests(SynchronousTestCase):
    """The JSON of /status."""

    def test_instance(self) -> None:
        """A worker shows its number."""
        proxy = SampleProxy()
        for instance in (None, 0, 3):
            made = status_document(proxy.status(), (), TOTALS, (), NOW, 10, instance)
            self.assertEqual(instance, made["instance"])

    def test_proxy(self) -> None:
        """Version, state, configuration and listeners."""
        found = document(SampleProxy(warnings=["look here"], access_log_lost=4))
        self.assertEqual((__version__, "ready", NOW), (found["version"], found["state"], found["time"]))
        reloads = {"succeeded": 0, "failed": 0, "error": None, "time": None}
        configuration = {"file": "/etc/sniproxy.toml", "since": NOW - 600, "reloads": reloads}
        self.assertEqual(configuration, found["configuration"])
        self.assertEqual(
            [("public", "tcp:4443", "0.0.0.0:4443"), ("inside", "tcp6:6650:interface=\\:\\:1", "[::1]:6650")],
            [(one["name"], one["endpoint"], one["address"]) for one in found["listeners"][:2]],
        )
        self.assertIsNone(found["listeners"][2]["address"])
        self.assertEqual({**TOTALS, "access_log_lost": 4, "event_log_lost": 0}, found["totals"])
        self.assertEqual(["look here"], found["warnings"])

    def test_current_settings(self) -> None:
        """The configuration is shown with its source."""
        status = SampleProxy().status()
        found = status_document(status, (), TOTALS, (), NOW, 10, current_settings={"routes": [1]})["configuration"]
        self.assertEqual(("/etc/sniproxy.toml", [1]), (found["file"], found["routes"]))

    def test_refused_reload(self) -> None:
        """A failed reload is in the document, and is the first warning until a reload succeeds."""
        reloads = Reloads(1).with_failure("x.toml: bad", NOW - 3)
        found = document(SampleProxy(warnings=["look here"], reloads=reloads))
        said = {"succeeded": 1, "failed": 1, "error": "x.toml: bad", "time": NOW - 3}
        self.assertEqual(said, found["configuration"]["reloads"])
        self.assertIn("reload failed, keeping the current configuration: x.toml: bad", found["warnings"][0])
        self.assertEqual(
            ["look here"], document(SampleProxy(warnings=["look here"], reloads=reloads.with_success()))["warnings"]
        )

    def test_many_warnings(self) -> None:
        """Many warnings are cut, with their number."""
        found = document(SampleProxy(warnings=[f"look at {number}" for number in range(100)]), 2)
        self.assertEqual((100, ["look at 0", "look at 1"]), (found["warning_count"], found["warnings"]))

    def test_resolvers(self) -> None:
        """The resolvers are listed with their state."""
        one = ResolverStatus("brokers", "dns", {"questions": 1}, "open", "3 brokers", "silent")
        found = document(SampleProxy(resolvers=[one]))["resolvers"]
        self.assertEqual([asdict(one)], found)

    def test_limits(self) -> None:
        """The limits are listed with their refusals."""
        status = replace(SampleProxy().status(), limits=LimitsStatus(9, 5, {"rate_per_client": 3}, {}, 7, 1, 2))
        found = status_document(status, [], TOTALS, [], NOW, 10)["limits"]
        self.assertEqual(
            {
                "max_connections": 9,
                "max_hellos": 5,
                "refused": {"rate_per_client": 3},
                "waited": {},
                "max_connecting": 7,
                "connecting": 1,
                "loops": 2,
                "reached": None,
            },
            found,
        )

    def test_old_processes(self) -> None:
        """Processes that upgrades have replaced are listed."""
        proxy = SampleProxy(old_processes=[OldProcess(7, 2, NOW + 60)])
        expected = [{"pid": 7, "tunnels": 2, "ends": NOW + 60}]
        self.assertEqual(expected, status_document(proxy.status(), [], TOTALS, [], NOW, 10)["old_processes"])

    def test_relay(self) -> None:
        """The relay of new tunnels is named, with the engine's figures."""
        status = replace(SampleProxy().status(), relay=RelayStatus("engine", "", 2, 9, 70, 3))
        self.assertEqual(
            {"relay": "engine", "why": "", "threads": 2, "tunnels": 9, "held_bytes": 70, "pipes": 3},
            status_document(status, [], TOTALS, [], NOW, 10)["relay"],
        )

    def test_draining(self) -> None:
        """The state is draining while the proxy drains."""
        self.assertEqual("draining", document(SampleProxy(ready=False))["state"])

    def test_tunnel(self) -> None:
        """A tunnel with its current state."""
        live = SampleLive(connection(7, age=60.25), 517, 4_000, "half_closed")
        self.assertEqual(
            [
                {
                    "id": "ab12cd34-7",
                    "listener": "public",
                    "name": "broker-1.pulsar.test",
                    "route": "*.pulsar.test",
                    "target": "10.0.0.11:6651",
                    "client": "192.0.2.7:50007",
                    "peer": None,
                    "authority": None,
                    "upstream_local": None,
                    "header_sent": False,
                    "age_s": 60.25,
                    "bytes_up": 517,
                    "bytes_down": 4_000,
                    "state": "half_closed",
                }
            ],
            document(SampleProxy(tunnels=[live]))["tunnels"],
        )

    def test_proxied(self) -> None:
        """A tunnel with a PROXY protocol header: its sender, and an authority that is not the server name."""
        record = connection(7)
        record.proxied = Proxied("10.0.0.9:40001", {"authority": "other.test"})
        (found,) = document(SampleProxy(tunnels=[SampleLive(record)]))["tunnels"]
        self.assertEqual(("10.0.0.9:40001", "other.test"), (found["peer"], found["authority"]))

    def test_clock_set_back(self) -> None:
        """No age is negative."""
        live = SampleLive(connection(age=-3_600))
        self.assertEqual(0, document(SampleProxy(tunnels=[live]))["tunnels"][0]["age_s"])

    def test_many(self) -> None:
        """A limit selects the newest, with the total number."""
        refusals = RecentRefusals()
        for number in range(9):
            refusals(refused(number, server_name=f"{number}.test"))
        tunnels = [SampleLive(connection(number)) for number in range(2_000)]
        found = document(SampleProxy(tunnels=tunnels), 2, refusals)
        self.assertEqual(2_000, found["live"])
        self.assertEqual(["ab12cd34-1999", "ab12cd34-1998"], [one["id"] for one in found["tunnels"]])
        self.assertEqual(["8.test", "7.test"], [one["server_name"] for one in found["refusals"]])
        self.assertEqual([], document(SampleProxy(tunnels=tunnels), 0)["tunnels"])

    def test_refusal(self) -> None:
        """A refusal with its reason."""
        refusals = RecentRefusals()
        refusals(refused(1, server_name="x.test"))
        self.assertEqual(
            {
                "listener": "public",
                "server_name": "x.test",
                "result": "no_route",
                "count": 1,
                "time": NOW - 60,
                "client": "192.0.2.7:50001",
                "reason": "no route has this name",
            },
            document(SampleProxy(), refusals=refusals)["refusals"][0],
        )


class ReferenceTests(SynchronousTestCase):
    """docs/reference/admin-api.md."""

    def test_all(self) -> None:
        """The page lists each key of the document."""
        proxy = SampleProxy(tunnels=[SampleLive(connection())])
        proxy.drain("10.0.0.7:6651", 1.0)
        proxy.resolvers.append(ResolverStatus("r", "http", {"questions": 1}))
        counts = LiveCounts(
            targets=[TargetStatus("t", "up", 1, "")], routes=[RouteStatus("a.test", None)], refusals_by={"no_route": 1}
        )
        refusals = RecentRefusals()
        refusals(refused())
        found = document(proxy, refusals=refusals, counts=counts)
        self.assertEqual(set(found), set(rows("/status")))
        for name in ("tunnels", "drains", "resolvers", "targets", "refusals", "routes"):
            self.assertTrue(found[name], name)
        # What is in force has the names of docs/reference/configuration.md.
        self.assertEqual(
            set(),
            set(keys({**found, "configuration": None, "refusals_by": None}))
            - words("/status")
            - words("An entry of targets"),
        )
        self.assertEqual(set(found["targets"][0]), set(rows("An entry of targets")))


class SerializeTests(SynchronousTestCase):
    """JSON in pieces."""

    def test_pieces(self) -> None:
        """Lists and iterators are split into batches; joined, they are the document."""
        many = [{"n": number, "l": [number]} for number in range(2 * BATCH + 1)]
        document = {"a": 1, "b": {"c": None, "d": many}, "e": [], "f": "x\n", "g": {}}
        pieces = list(serialize({**document, "h": iter(many)}))
        self.assertEqual({**document, "h": many}, json.loads(b"".join(pieces)))
        self.assertTrue(all(piece.count(b'"n"') <= BATCH for piece in pieces))
