"""The pure parts of the admin page's scripts, run in a real browser."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, cast

from tests.admin.sample import SampleSite
from tests.peers.needs import require
from tests.support.browser import Browser
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread

UNKNOWN = "\N{EN DASH}"


def history(end: float | None, tunnels: list[int], refused: Any = None, targets: Any = None) -> dict[str, Any]:
    """An answer of /history whose other series have no traffic."""
    quiet = {name: [0] * len(tunnels) for name in ("new", "up", "down")}
    series = {"tunnels": tunnels, **quiet, "refused": refused or {}, "targets": targets or {}}
    return {"step_s": 10, "end": end, "series": series}


def target(name: str, state: str = "up", connections: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "target": name,
        "state": state,
        "why": "",
        "connections": connections,
        "up_per_s": 1,
        "down_per_s": 2,
        **more,
    }


def route(name: str, targets: list[str], connections: int = 0, **more: Any) -> dict[str, Any]:
    found = {"server_name": name, "targets": targets, "connections": connections, "error": None}
    return {**found, "up_per_s": 1, "down_per_s": 2, **more}


def links(first: str, second: str, *found: tuple[str | None, str, int]) -> list[dict[str, Any]]:
    """Links of /flows between two kinds."""
    return [{first: one, second: other, "connections": number} for one, other, number in found]


class ScriptTests(SocketTestCase):
    """Functions of the scripts, called with arguments and compared by their results."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Skip the test without Chromium."""
        require("chromium")
        await super().setUp()
        port: Any = reactor.listenTCP(0, cast(Any, SampleSite(reactor).site), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        self.browser: Browser = await in_thread(Browser)
        self.addCleanup(self.browser.close)
        await in_thread(lambda: self.browser.open(self.url))
        await in_thread(
            lambda: self.browser.wait("document.readyState === 'complete' && location.protocol === 'http:'")
        )

    async def call(self, module: str, function: str, *arguments: Any) -> Any:
        """The result of a function of a script, as JSON."""
        listed = json.dumps(arguments)
        script = f"import('/{module}.js').then((found) => found.{function}(...{listed}))"
        return await in_thread(lambda: self.browser.run(script))

    async def table(self, module: str, function: str, cases: list[tuple[Any, ...]]) -> None:
        """Each case is the expected result and the arguments."""
        for wanted, *arguments in cases:
            self.assertEqual(wanted, await self.call(module, function, *arguments), arguments)

    async def test_texts(self) -> None:
        """Numbers, times and names become short texts; what is not known is a dash."""
        await self.table("texts", "bytes", [("0 B", 0), ("999 B", 999), ("1.0 kB", 1000), ("2.5 GB", 2.5e9)])
        await self.table(
            "texts",
            "rate",
            [(UNKNOWN, None), ("0", 0), ("< 0.01", 0.001), ("0.25", 0.25), ("1.5", 1.5), ("1,234", 1234)],
        )
        await self.table("texts", "latency", [(UNKNOWN, None), ("0.8 ms", 0.0008), ("12 ms", 0.012), ("1.5 s", 1.5)])
        await self.table(
            "texts", "span", [("59 s", 59.9), ("1 min", 60), ("2 h 5 min", 7500), ("2 d 7 h", 200_000), ("0 s", -1)]
        )
        await self.table("texts", "few", [("", [], 2), ("a, b", ["a", "b"], 2), ("a, b and 2 more", list("abcd"), 2)])
        await self.table("texts", "cut", [("abc", "abc", 3), ("ab…", "abcd", 3), ("…1:7", "127.0.0.1:7", 4)])
        await self.table("texts", "since", [(UNKNOWN, 5, None), ("now", 5, 5), ("3 s ago", 5, 2)])
        await self.table("texts", "parts", [(["a/b", "c"], "persistent://a/b/c"), (["", "c"], "c")])

    async def test_sorted(self) -> None:
        """Names are sorted by the numbers in them; a value that is not known comes last in each order."""
        script = "import('/tables.js').then((found) => found.sorted(%s, (one) => one, %s))"
        for descending, values, wanted in (
            ("false", [3, None, 1, 2], [1, 2, 3, None]),
            ("true", [3, None, 1, 2], [3, 2, 1, None]),
            ("false", ["b-10", "b-9", "a"], ["a", "b-9", "b-10"]),
        ):
            found = await in_thread(lambda d=descending, v=values: self.browser.run(script % (json.dumps(v), d)))
            self.assertEqual(wanted, found)

    async def test_pages(self) -> None:
        """A page that no longer exists becomes the last one."""
        for page, total, wanted in (
            (0, 0, (0, 0, 0, 0)),
            (0, 5, (0, 0, 1, 5)),
            (2, 45, (2, 2, 41, 45)),
            (9, 45, (2, 2, 41, 45)),
        ):
            found = await self.call("tables", "pageOf", page, 20, total)
            self.assertEqual(wanted, tuple(found[key] for key in ("page", "last", "from", "to")))

    async def test_extended(self) -> None:
        """A kept history takes the new steps only, with causes and targets that only one of both has."""
        kept = history(
            100, [1, 2, 3], {"no_route": [1, 0, 0]}, {"a:1": {"tunnels": [1, 1, 1]}, "gone:1": {"tunnels": [1, 1, 1]}}
        )
        newer = history(
            120,
            [2, 3, 4, 5],
            {"limit": [0, 0, 0, 7]},
            {"a:1": {"tunnels": [1, 1, 2, 3]}, "b:1": {"tunnels": [None, None, None, 9]}},
        )
        found = (await self.call("history", "extended", kept, newer))["series"]
        self.assertEqual([1, 2, 3, 4, 5], found["tunnels"])
        self.assertEqual({"no_route": [1, 0, 0, 0, 0], "limit": [0, 0, 0, 0, 7]}, found["refused"])
        self.assertEqual(
            {"a:1": {"tunnels": [1, 1, 1, 2, 3]}, "b:1": {"tunnels": [None, None, None, None, 9]}}, found["targets"]
        )

    async def test_extended_bounds(self) -> None:
        """A history never has more than an hour; without an overlap it cannot be extended."""
        full = history(3600, list(range(360)))
        found = await self.call("history", "extended", full, history(3610, [358, 359, 360]))
        self.assertEqual(list(range(1, 361)), found["series"]["tunnels"])
        same = await self.call("history", "extended", full, history(3600, [359]))
        self.assertEqual(full["series"]["tunnels"], same["series"]["tunnels"])
        for kept, newer in (
            (None, full), (history(None, []), full), (full, history(None, [])),
            (full, history(3700, [1, 2])), (full, history(10, [1])), (full, {**full, "step_s": 5}),
        ):  # fmt: skip
            self.assertIsNone(await self.call("history", "extended", kept, newer))

    async def test_causes(self) -> None:
        """The causes with the most refusals have a colour of their own; the others are summed."""
        refused = {"a": [1, 0], "b": [0, 5], "c": [2, 0], "d": [0, 1], "none": [0, 0]}
        found = await self.call("history", "causesOf", refused, 2)
        self.assertEqual([("b", 5, [0, 5]), ("c", 2, [2, 0]), ("other", 2, [1, 1])],
                         [(one["cause"], one["sum"], one["values"]) for one in found])  # fmt: skip
        self.assertEqual(
            [[3, 9], [1, 5, 9]],
            [await self.call("history", "bins", values, 2) for values in ([1, 2, 4, 5], [1, 2, 3, 4, 5])],
        )

    async def test_bars(self) -> None:
        """Refusals of a minute are one bar, aligned to the newest step, with its causes on top of each other."""
        causes = [{"cause": "a", "values": [1] * 7}, {"cause": "b", "values": [0] * 6 + [2]}]
        bars = await self.call("curves", "barsOf", causes, history(1000, [0] * 7))
        self.assertEqual([(940, 1), (1000, 8)], [(bar["end"], bar["sum"]) for bar in bars])
        self.assertEqual([("a", 0, 6), ("b", 6, 2)], [(p["cause"], p["from"], p["value"]) for p in bars[1]["parts"]])

    async def test_points(self) -> None:
        """A curve ends at the right; what is not known has no point."""
        self.assertEqual(["75.0,29.0", "100.0,2.0"], await self.call("curves", "points", [None, 0, 10], 5))
        self.assertEqual([], await self.call("curves", "points", [], 360))

    async def test_graph(self) -> None:
        """Those that fail are shown before the busiest; the others are one node, and no tunnel is lost."""
        names = [f"b{number}" for number in range(6)]
        targets = [target(f"{name}:1", connections=9 - number) for number, name in enumerate(names)]
        targets[5] = target("b5:1", "down", why="b5:1: refused")
        routes = [route(name, [f"{name}:1"], 9 - number) for number, name in enumerate(names)]
        flows = {
            "connections": 12, "client_count": 5, "clients": [{"client": "c1", "connections": 10}],
            "client_routes": links("client", "route", ("c1", "b0", 10), (None, "b4", 2)),
            "route_targets": links("route", "target", ("b0", "b0:1", 10), ("b4", "b4:1", 2)),
        }  # fmt: skip
        found = await self.call("flows", "graphOf", {"routes": routes, "targets": targets}, flows, 2)
        clients, shown_routes, shown_targets = found["columns"]
        self.assertEqual([("c1", 10), (None, 2)], [(one["id"], one["value"]) for one in clients])
        self.assertEqual(4, clients[1]["fold"])
        self.assertEqual(["b0", "b1", None], [one["id"] for one in shown_routes])
        self.assertEqual(["b0:1", "b5:1", None], [one["id"] for one in shown_targets])
        self.assertEqual(("down: refused", 4), (shown_targets[1]["bad"], shown_targets[2]["fold"]))
        first, second = (
            [(one["from"], one["to"], one["value"], one["bad"]) for one in side] for side in found["links"]
        )
        self.assertEqual([("c1", "b0", 10, False), (None, None, 2, False)], first)
        self.assertIn(("b0", "b0:1", 10, False), second)
        self.assertIn((None, None, 2, False), second)

    async def test_graph_of_listeners(self) -> None:
        """With several listeners, those that tunnels come by are a column; an older release names none."""
        flows: dict[str, Any] = {
            "connections": 5, "client_count": 1, "clients": [{"client": "c", "connections": 5}],
            "client_routes": links("client", "route", ("c", "b", 5)),
            "route_targets": links("route", "target", ("b", "b:1", 5)),
        }  # fmt: skip
        split = {
            "client_listeners": links("client", "listener", ("c", "public", 3), ("c", "inside", 2)),
            "listener_routes": links("listener", "route", ("public", "b", 3), ("inside", "b", 2)),
        }
        status: dict[str, Any] = {
            "routes": [route("b", ["b:1"], 5, error="down")],
            "targets": [target("b:1", connections=5)],
            "listeners": [{"name": name} for name in ("public", "inside", "idle")],
        }
        found = await self.call("flows", "graphOf", status, {**flows, **split}, 6)
        self.assertEqual(["client", "listener", "route", "broker"], found["kinds"])
        self.assertEqual([("public", 3), ("inside", 2)], [(one["id"], one["value"]) for one in found["columns"][1]])
        first, second, third = (
            [(one["from"], one["to"], one["value"], one["bad"]) for one in side] for side in found["links"]
        )
        self.assertEqual([("c", "public", 3, False), ("c", "inside", 2, False)], first)
        self.assertEqual([("public", "b", 3, True), ("inside", "b", 2, True)], second)
        self.assertEqual([("b", "b:1", 5, False)], third)
        alone = {**status, "listeners": status["listeners"][:1]}
        for one, counts in ((alone, {**flows, **split}), (status, flows)):
            found = await self.call("flows", "graphOf", one, counts, 6)
            self.assertEqual(["client", "route", "broker"], found["kinds"])
            self.assertEqual(3, len(found["columns"]))

    async def test_graph_of_other_listeners(self) -> None:
        """Listeners beyond the busiest are one node."""
        flows = {
            "connections": 5, "client_count": 1, "clients": [{"client": "c", "connections": 5}],
            "client_routes": [], "route_targets": [],
            "client_listeners": links("client", "listener", ("c", "l0", 4)),
            "listener_routes": [
                {"listener": name, "route": "b", "connections": number} for name, number in (("l0", 4), (None, 1))
            ],
        }  # fmt: skip
        status = {"routes": [], "targets": [], "listeners": [{"name": f"l{number}"} for number in range(4)]}
        found = await self.call("flows", "graphOf", status, flows, 6)
        self.assertEqual([("l0", 1), (None, 3)], [(one["id"], one["fold"]) for one in found["columns"][1]])

    async def test_columns(self) -> None:
        """No label reaches the next column, on a narrow screen and on a wide one."""
        for count in (3, 4):
            for width in (320, 370, 719, 720, 900, 1400):
                narrow = width < 720
                places = await self.call("picture", "columnsOf", width, count, narrow)
                bars = places["bars"]
                self.assertEqual(count, len(bars))
                for left, right in pairwise(bars[:-1]):
                    room = places["room"] if narrow and left == bars[0] else places["inner"]
                    self.assertGreaterEqual(
                        right - left, (room if narrow or left != bars[0] else 0) + 8, (width, count)
                    )
                if narrow:
                    self.assertGreaterEqual(bars[-1] - bars[-2], places["inner"] + places["room"], (width, count))

    async def test_same_name(self) -> None:
        """Routes of several listeners with one name are one node: its connections are counted by that name."""
        routes = [route("a", ["x:1"], 2), route("a", ["x:1", "y:1"], 3, error="down"), route("b", [])]
        found = await self.call("flows", "byName", routes)
        keys = "server_name", "connections", "targets", "error"
        wanted = [("a", 5, ["x:1", "y:1"], "down"), ("b", 0, [], None)]
        self.assertEqual(wanted, [tuple(one[key] for key in keys) for one in found])

    async def test_placed(self) -> None:
        """Nodes of a column do not overlap, and the links of a node stay within it."""
        columns = [[{"id": f"{side}{number}", "value": number} for number in range(5)] for side in range(3)]
        links = [
            [{"from": f"{side}{n}", "to": f"{side + 1}{n}", "value": n, "bad": False} for n in range(5)]
            for side in range(2)
        ]
        found = await self.call("flows", "placed", {"columns": columns, "links": links})
        for column in found["nodes"]:
            for above, below in pairwise(column):
                self.assertLess(above["y"] + above["height"], below["y"])
            self.assertLessEqual(column[-1]["y"] + column[-1]["height"], found["height"])
        for side, list_of_links in enumerate(found["links"]):
            for link in list_of_links:
                for end, y, column in (("from", "y0", side), ("to", "y1", side + 1)):
                    node = next(one for one in found["nodes"][column] if one["id"] == link[end])
                    self.assertGreaterEqual(link[y] - link["width"] / 2, node["y"])
                    self.assertLessEqual(link[y] + link["width"] / 2, node["y"] + node["height"])

    async def test_transitions(self) -> None:
        """A screen reader hears which brokers fail or work again, and nothing else."""
        before = {
            "state": "ready",
            "targets": [target("a:1"), target("b:1", "down"), target("c:1", "unchecked"), target("d:1", "down")],
        }
        after = {
            "state": "draining",
            "targets": [target("a:1", "down"), target("b:1"), target("c:1"), target("e:1", "down")],
        }
        wanted = ["a:1: down, b:1: works again, the proxy is draining"]
        self.assertEqual(wanted, await self.call("summary", "transitions", before, after))
        self.assertEqual([], await self.call("summary", "transitions", after, after))

    async def test_limits(self) -> None:
        """A limit has how full it is, where that is known, and what it did; one that is off is left out."""
        limits = {
            "max_connections": 100, "max_hellos": 5, "max_connecting": 0, "connecting": 3, "loops": 1,
            "refused": {"max_connections": 2, "rate_per_client": 4}, "waited": {"max_hellos": 7},
        }  # fmt: skip
        found = await self.call("health", "limitsOf", {"live": 40, "limits": limits})
        self.assertEqual([
            ("Connections", 40, 100, "2 refused"), ("Connections without a ClientHello", None, 5, "7 waits"),
            ("rate per client", None, None, "4 refused"), ("Loops", None, None, "1 hello came back, denied"),
        ], [(one["name"], one["used"], one["most"], one["note"]) for one in found])  # fmt: skip

    async def test_drain_request(self) -> None:
        """The name of a drain is escaped, and the token is a header, never a part of the path."""
        about = {"action": "drain", "kind": "route", "name": "*.a b&c", "connections": 2}
        self.assertEqual("/drain?name=*.a+b%26c&rate=10", await self.call("drains", "pathOf", about, "10"))
        self.assertEqual(
            "/undrain?name=x", await self.call("drains", "pathOf", {"action": "undrain", "name": "x"}, "10")
        )
        self.assertEqual({"Authorization": "Bearer s"}, await self.call("drains", "authorization", "s"))
        self.assertEqual({}, await self.call("drains", "authorization", ""))

    async def test_treemap(self) -> None:
        """The areas of the rectangles are proportional to the weights, and fill the box."""
        found = await self.call("treemap", "squarify", [6, 3, 1], 100, 50)
        self.assertEqual([3000, 1500, 500], [round(one["width"] * one["height"]) for one in found])
