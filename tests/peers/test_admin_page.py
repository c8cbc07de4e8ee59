"""The admin page in a real browser: what it shows of a fake proxy."""

from __future__ import annotations

import random
import re
from typing import Any

from sniproxy import __version__
from sniproxy.admin.sources import DrainStatus, ResolverStatus, RouteStatus, TargetStatus
from tests.admin.brokers import add_brokers
from tests.admin.sample import HOSTILE, NOW, SampleLive, SampleSite, connection, lookup
from tests.peers.browsercase import BrowserTestCase, items, rows, text
from tests.support.browser import Browser

CELLS = """[...document.querySelectorAll("#map .cell")].map((cell) => (
    {title: cell.title, kind: cell.className, area: cell.offsetWidth * cell.offsetHeight}))"""

STATUS = "fetch('/status').then((answer) => answer.json())"

PICTURE = "[...document.querySelectorAll('#picture g.node')].map((one) => [one.getAttribute('class'), one.textContent])"

BEYOND = """(() => {
    const edge = document.getElementById("picture").getBoundingClientRect().right;
    const bars = [...document.querySelectorAll("#picture g.node rect:not(.plate)")];
    return bars.map((one) => one.getBoundingClientRect().right - edge).filter((over) => over > 0);
})()"""
"""By how many pixels bars of the picture are cut at the right."""


class PageTestCase(BrowserTestCase):
    """A fake proxy with brokers."""

    def busy(self) -> SampleSite:
        """A filled site: four brokers, of which the third is down and the fourth ejected, and their routes."""
        sample = self.serve()
        sample.fill()
        add_brokers(sample, 4)
        return sample


class BrokerTests(PageTestCase):
    """Brokers, routes and their numbers."""

    async def test_numbers(self) -> None:
        """The numbers of each broker, route and listener are those of /status."""
        self.busy()

        def look(browser: Browser) -> Any:
            return browser.run(STATUS), rows(browser, "brokers"), rows(browser, "routes"), rows(browser, "listeners")

        status, brokers, routes, listeners = await self.browse(look)
        self.assertEqual(4, len(status["targets"]))
        shown = {row["Broker"][0]: row for row in brokers}
        for one in status["targets"]:
            row, connects = shown[one["target"]], one["connects"]
            self.assertEqual(", ".join(one["names"]), row["Broker"][1])
            self.assertEqual([one["state"], "for 1 min, checked 2 s ago"], row["State"][:2])
            self.assertEqual(one["why"].removeprefix(f"{one['target']}: "), "".join(row["State"][2:]))
            self.assertEqual([str(one["connections"]), f"most {one['most']}"], row["Tunnels"])
            failed = sum(connects.values()) - connects["ok"]
            self.assertEqual([str(failed), *([f"{failed} refused"] if failed else [])], row["Failed connects"])
            self.assertEqual(f"p99 {milliseconds(one['connect_p99_s'])}", row["Connect time"][1])
            self.assertEqual(milliseconds(one["connect_p50_s"]), row["Connect time"][0])
        self.assertEqual(
            {(one["server_name"], str(one["connections"]), str(one["refused"])) for one in status["routes"]},
            {(row["Route"][0], row["Tunnels"][0], row["Refused"][0]) for row in routes},
        )
        self.assertEqual(
            [(one["name"], one["address"] or "\N{EN DASH}", str(one["connections"])) for one in status["listeners"]],
            [(row["Listener"][0], row["Address"][0], row["Tunnels"][0]) for row in listeners],
        )

    async def test_tiles(self) -> None:
        """The tiles have the totals of /status, and name the brokers that fail."""
        self.busy()

        def look(browser: Browser) -> Any:
            return browser.run(STATUS), {name: text(browser, name) for name in TILES}

        status, tiles = await self.browse(look)
        self.assertEqual(
            (f"{status['live']}", "Brokers failing", "2 of 4"),
            tuple(tiles[name] for name in ("tile-tunnels", "title-brokers", "tile-brokers")),
        )
        self.assertEqual("\N{MULTIPLICATION X} 10.0.0.13:6651: down, 10.0.0.14:6651: ejected", tiles["note-brokers"])
        self.assertEqual(f"{status['totals']['ended']} ended in 2 h 5 min", tiles["note-new"])
        self.assertEqual(("ready", "2 h 5 min"), (tiles["state"], tiles["note-new"].partition(" in ")[2]))

    async def test_failing_first(self) -> None:
        """Brokers and routes that fail are the first rows, in red; the picture has them in red, too."""
        self.busy()

        def look(browser: Browser) -> Any:
            return rows(browser, "brokers"), rows(browser, "routes"), browser.wait(f"{PICTURE}.length && {PICTURE}")

        brokers, routes, picture = await self.browse(look)
        self.assertEqual(["13", "14", "11", "12"], [row["Broker"][0][7:9] for row in brokers])
        self.assertEqual(["failing", "failing", "ok", "ok"], [row["State"][0] for row in routes])
        bad = sorted(re.findall(r"^(\S+):", found)[0] for kind, found in picture if "bad" in kind)
        self.assertEqual(["10.0.0.13:6651", "10.0.0.14:6651", "broker-3.pulsar.test", "broker-4.pulsar.test"], bad)

    async def test_listeners(self) -> None:
        """The picture has the listeners that tunnels come by, wide and narrow, and the screen reader their number."""
        sample = self.busy()
        names = [one.name for one in sample.proxy.status().listeners][:2]
        sample.proxy.tunnels[:] = [
            SampleLive(connection(number, listener=name)) for number, name in enumerate([*names, names[1]])
        ]

        def look(browser: Browser) -> Any:
            nodes = browser.wait(f"{PICTURE}.length && {PICTURE}")
            summary = browser.run("document.querySelector('#picture svg').getAttribute('aria-label')")
            return [found for _, found in nodes], summary, text(browser, "picture-title"), browser.run(BEYOND)

        for width in (1200, 390):
            nodes, summary, title, beyond = await self.browse(look, width=width)
            self.assertEqual([], beyond)
            for name, tunnels in zip(names, ("1 tunnel", "2 tunnels"), strict=True):
                self.assertEqual(1, sum(found.startswith(f"{name}: {tunnels}") for found in nodes), nodes)
            self.assertIn("1 client to 2 listeners to ", summary)
            self.assertEqual("Clients \N{RIGHTWARDS ARROW} listeners \N{RIGHTWARDS ARROW} routes "
                             "\N{RIGHTWARDS ARROW} brokers", title)  # fmt: skip

    async def test_unchecked(self) -> None:
        """A target that nothing checks is neither up nor down, and fails if its last connect did."""
        sample = self.serve()
        for host, why in (("a", ""), ("b", "b:1: Connection refused")):
            sample.proxy.targets.append(TargetStatus(f"{host}:1", "unchecked", 0, why))
        found, note = await self.browse(lambda browser: (rows(browser, "brokers"), text(browser, "note-brokers")))
        self.assertEqual([["unchecked", "[health] is off", "Connection refused"], ["unchecked", "[health] is off"]],
                         [row["State"] for row in found])  # fmt: skip
        self.assertEqual("\N{MULTIPLICATION X} b:1: last connect failed", note)

    async def test_many(self) -> None:
        """Of many brokers, routes and tunnels one page exists; the next page has the next ones."""
        sample = self.serve()
        add_brokers(sample, 500)
        sample.proxy.tunnels += [SampleLive(connection(number)) for number in range(5000)]

        def look(browser: Browser) -> Any:
            first = rows(browser, "brokers")
            browser.run("document.querySelector('[aria-label=\"Brokers: next page\"]').click()")
            second, places = rows(browser, "brokers"), items(browser, ".pager:not([hidden]) span")
            return first, second, places, browser.run("document.querySelectorAll('*').length")

        first, second, places, elements = await self.browse(look)
        self.assertEqual(
            (20, 20, set()),
            (len(first), len(second), {r["Broker"][0] for r in first} & {r["Broker"][0] for r in second}),
        )
        self.assertEqual(["21\N{EN DASH}40 of 500", "1\N{EN DASH}20 of 500", "1\N{EN DASH}25 of 5,000"], places)
        self.assertLess(elements, 3500)

    async def test_sorted_by_column(self) -> None:
        """A click on a column's title sorts by it, a second one turns the order."""
        self.busy()
        press = "[...document.querySelectorAll('#brokers .sort')].find((one) => one.textContent === 'Tunnels').click()"

        def look(browser: Browser) -> list[list[str]]:
            found = []
            for _ in range(3):
                browser.run(press)
                found.append([row["Tunnels"][0] for row in rows(browser, "brokers")])
                found.append(items(browser, "#brokers th[aria-sort]"))
            return found

        ascending = ["7", "14", "21", "28"]
        self.assertEqual(
            [ascending[::-1], ["Tunnels"], ascending, ["Tunnels"], ["21", "28", "7", "14"], []], await self.browse(look)
        )

    async def test_resolvers(self) -> None:
        """A resolver that cannot answer says why."""
        counts = {"questions": 5, "hits": 3, "shared": 1, "stale": 2, "refused": 0, "failures": 4}
        self.serve().proxy.resolvers += [
            ResolverStatus("zk", "zookeeper", counts, "open", None, "zk-1:2181: Connection refused"),
            ResolverStatus("file", "file", counts, "closed", "12 names", None),
        ]
        found = await self.browse(lambda browser: rows(browser, "resolvers"))
        self.assertEqual([["circuit breaker open", "zk-1:2181: Connection refused"], ["ok", "12 names"]],
                         [row["State"] for row in found])  # fmt: skip
        self.assertEqual(
            (["5", "4 failed"], ["4"], ["2"]),
            tuple(found[0][key] for key in ("Queries", "From cache", "Stale answers")),
        )


class StateTests(PageTestCase):
    """The state of the proxy, warnings, and empty lists."""

    async def test_idle(self) -> None:
        """Empty sections say what to do; without inspection there are no Pulsar sections."""
        self.serve(inspecting=False)
        visible = "filter((one) => one.checkVisibility()).map((one) => one.textContent)"
        shown = f"[...document.querySelectorAll('.empty')].{visible}"
        mapped = "document.getElementById('map').checkVisibility()"
        found, version, map_shown = await self.browse(
            lambda browser: (browser.run(shown), text(browser, "version"), browser.run(mapped))
        )
        self.assertEqual(5, len(found))
        self.assertTrue(found[0].startswith("No broker is known. A [[route]] with target"), found)
        self.assertEqual((__version__, False), (version, map_shown))

    async def test_worker(self) -> None:
        """The page of a worker has its number, including 0."""
        self.serve(instance=0)
        self.assertEqual(f"{__version__}, worker 0", await self.browse(lambda browser: text(browser, "version")))

    async def test_draining(self) -> None:
        """While the proxy drains, or a target does, the page says so."""
        proxy = self.serve().proxy
        proxy.ready = False
        proxy.drains.append(DrainStatus("target", "10.0.0.13:6651", NOW - 5, 10.0, 5, 1, 3, ["192.0.2.1:5"]))
        state, drains = await self.browse(lambda browser: (text(browser, "state"), items(browser, "#drains .text")))
        self.assertEqual("draining", state)
        self.assertEqual(
            ["target 10.0.0.13:6651, begun 5 s ago, 10 a second: 5 closed, 1 refused, 3 left: 192.0.2.1:5"], drains
        )

    async def test_many_warnings(self) -> None:
        """Of many warnings the first are shown, with their total number."""
        self.serve().proxy.warnings += [f"warning {number}" for number in range(300)]
        found = await self.browse(lambda browser: items(browser, "#warnings li"))
        self.assertEqual(("warning 0", "warning 19"), (found[0], found[19]))
        self.assertEqual(["280 more warnings: see /status"], found[20:])

    async def test_no_answer(self) -> None:
        """If the proxy does not answer, the last state stays, marked as outdated."""
        sample, looks = self.busy(), iter(range(100))

        def fail() -> None:
            if next(looks) >= 1:
                raise ZeroDivisionError("gone")

        sample.proxy.look = fail
        gone = "document.getElementById('state').textContent === 'no answer'"
        names = ("tile-tunnels", "updated")
        found = await self.browse(lambda b: (b.wait(gone), *(text(b, name) for name in names)), quiet=False)
        self.assertEqual("20", found[1])
        self.assertIn("no answer from the proxy", found[2])
        self.flushLoggedErrors(ZeroDivisionError)

    async def test_hostile_text(self) -> None:
        """HTML in names of topics, servers, targets and clients is text."""
        sample = self.busy()
        evil = "<img src=x onerror=document.title='broken'>"
        sample.proxy.tunnels.append(SampleLive(connection(99, server_name=evil, target=evil)))
        sample.proxy.targets.append(TargetStatus(evil, "down", 1, evil, None, None, [evil], [evil]))
        sample.proxy.routes.append(RouteStatus(evil, evil, [evil], evil, []))
        sample.proxy.warnings.append(evil)
        found = await self.browse(lambda browser: (
            items(browser, "#failures th"), items(browser, "#brokers .name"), items(browser, "#warnings li"),
            browser.run("[...document.images].map((one) => one.getAttribute('src'))"), browser.run("document.title"),
        ))  # fmt: skip
        self.assertIn(HOSTILE.removeprefix("persistent://"), found[0])
        self.assertIn(evil, found[1])
        self.assertIn(evil, found[2])
        self.assertEqual(["/icon.svg"], found[3])
        self.assertNotIn("broken", found[4])


class TopicTests(PageTestCase):
    """Topics of inspected listeners."""

    async def test_clusters(self) -> None:
        """The same topic in two clusters has two cells and two lines, each with its cluster."""
        sample = self.serve()
        for place, brokers in (("east.test", (1, 2)), ("west.test", (3,))):
            for broker in brokers:
                sample.event(lookup(broker=broker), place)
            sample.event(lookup("failed", "TopicNotFound", topic="persistent://a/b/c"), place)
        found = await self.browse(lambda browser: [
            items(browser, "#map h3"), sorted(items(browser, "#topics .value")), items(browser, "#moves tbody th"),
            sorted(items(browser, "#failures tbody th")),
        ])  # fmt: skip
        places = ["broker-2.pulsar.test:6651 (east.test)", "broker-3.pulsar.test:6651 (west.test)"]
        moved, failed = ["public/default/orders (east.test)"], ["a/b/c (east.test)", "a/b/c (west.test)"]
        self.assertEqual([places, places, moved, failed], found)

    async def test_map(self) -> None:
        """A cell grows with its lookups; its colour is that of its producers and consumers, and a move is marked."""
        sample, dice = self.busy(), random.Random(7)
        sample.proxy.look = lambda: sample.pass_time(2.0, dice)
        ordered = sorted((one for one in sample.ledger.topics() if one.has_owner), key=lambda one: one.lookups)
        ordered[-1].producers, ordered[-1].consumers, ordered[-2].consumers = 40, 25, 1
        cells = {
            cell["title"].partition("\n")[0]: cell for cell in await self.browse(lambda browser: browser.run(CELLS))
        }
        most, second = cells[ordered[-1].topic], cells[ordered[-2].topic]
        least = next(cells[one.topic] for one in ordered if one.topic in cells)
        self.assertIn("40 producers, 25 consumers", most["title"])
        for cell, heat in ((most, "heat-5"), (second, "heat-1"), (least, "heat-0")):
            self.assertIn(heat, cell["kind"].split(), cell)
        self.assertGreater(most["area"], 10 * least["area"])
        self.assertLess(1, len([cell for cell in cells.values() if "moved" in cell["kind"].split()]))
        self.assertEqual(1, len([cell for cell in cells.values() if "more topics: see the table" in cell["title"]]))


TILES = ("tile-tunnels", "title-brokers", "tile-brokers", "note-brokers", "note-new", "state")


def milliseconds(seconds: float) -> str:
    """A connect time, as the page has it."""
    ms = 1000 * seconds
    return f"{ms:.1f} ms" if ms < 10 else f"{round(ms)} ms"
