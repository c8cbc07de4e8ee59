"""The admin page in a real browser: headless Chromium runs its script against a fake proxy."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from sniproxy import __version__
from sniproxy.admin.sources import DrainStatus, TargetStatus
from tests.admin.sample import HOSTILE, NOW, SampleSite, lookup
from tests.peers.needs import require
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
    "--virtual-time-budget=20000",
)  # fmt: skip
"""The last: timers of the page run at once, for so many milliseconds of its own time."""

DARK = "--blink-settings=preferredColorScheme=0"
COMMAND_PATIENCE = 120


class Reader(HTMLParser):
    """Collects texts of a document by element id, and names, classes and titles of elements."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in ("meta", "link", "img", "input"):
            self._open.append((tag, found.get("id")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name and data.strip():
                self.texts.setdefault(name, []).append(data.strip())

    def classes(self, name: str) -> list[dict[str, str]]:
        """The elements of a class."""
        return [found for _, found in self.elements if name in found.get("class", "").split()]


class BrowserTestCase(SocketTestCase):
    """A site of a fake proxy, and Chromium."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Skip the test without Chromium."""
        require("chromium")
        await super().setUp()

    def serve(self, **options: Any) -> SampleSite:
        sample = SampleSite(reactor, **options)
        port: Any = reactor.listenTCP(0, cast(Any, sample.site), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        return sample

    def busy(self) -> SampleSite:
        """A site of a proxy on which each request of the page advances two seconds."""
        sample, dice = self.serve(), random.Random(7)
        sample.fill()
        sample.proxy.look = lambda: sample.pass_time(2.0, dice)
        return sample

    def run_chromium(self, *arguments: str) -> Deferred[tuple[str, list[str]]]:
        """Run Chromium. Returns its output and the page's console messages, including violations of its policy."""
        profile = self.mktemp()

        def ran() -> tuple[str, list[str]]:
            command = ["chromium", *FLAGS, f"--user-data-dir={Path(profile).absolute()}", *arguments]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_PATIENCE)
            return done.stdout.decode(), re.findall(r".*CONSOLE.*", done.stderr.decode(errors="replace"))

        return in_thread(ran)

    async def page(self, *arguments: str) -> Reader:
        """The document after some seconds of its script. Asserts that the console has no message."""
        printed, console = await self.run_chromium("--dump-dom", "--window-size=1440,1750", *arguments, self.url)
        self.assertEqual([], console)
        return Reader(printed)


class PageTests(BrowserTestCase):
    """The contents of the page."""

    async def test_busy(self) -> None:
        """Tunnels, brokers with their topics, moves, failures, refusals, rates and warnings are shown."""
        sample = self.busy()
        page = await self.page()
        texts = page.texts
        self.assertEqual((["ready"], ["20"], ["9"]), (texts["state"], texts["tile-tunnels"], texts["tile-refused"]))
        self.assertEqual(f"{len(sample.ledger)}", texts["tile-topics"][0])
        self.assertRegex(texts["tile-traffic"][0], r"^[0-9.]+ MB/s$")
        self.assertRegex(texts["tile-lookups"][0], r"^[0-9]\.[0-9]$")
        self.assertEqual(sample.proxy.warnings, texts["warnings"])
        self.assertIn("broker-7.pulsar.test is advertised", texts["warnings"][1])
        self.assertEqual(["public 0.0.0.0:4443", "inside [::1]:6650", "unix:/run/s"], texts["listeners"])
        brokers = [text for text in texts["map"] if text.startswith("broker-")]
        self.assertEqual([f"broker-{number}.pulsar.test:6651" for number in (1, 2, 3, 4)], brokers)
        self.assertEqual(18, len([text for text in texts["tunnels"] if re.fullmatch(r"open|half closed", text)]))
        self.assertIn("ab12cd34-20", texts["tunnels"])
        for ending in (" (authority pulsar-vip.pulsar.test)", " via 10.0.0.9:41000", " from 10.0.0.2:40011"):
            self.assertTrue(any(text.endswith(ending) for text in texts["tunnels"]), ending)
        self.assertEqual(6, len([text for text in texts["moves"] if text.startswith("shop/")]))
        self.assertIn("ServiceNotReady", texts["failures"])
        self.assertIn("broker-33.pulsar.test", texts["refusals"])

    async def test_clusters(self) -> None:
        """The same topic in two clusters has two cells and two lines, each with its cluster."""
        sample = self.serve()
        for place, brokers in (("east.test", (1, 2)), ("west.test", (3,))):
            for broker in brokers:
                sample.event(lookup(broker=broker), place)
            sample.event(lookup("failed", "TopicNotFound", topic="persistent://a/b/c"), place)
        texts = (await self.page()).texts
        places = ["broker-2.pulsar.test:6651 (east.test)", "broker-3.pulsar.test:6651 (west.test)"]
        self.assertEqual(places, [text for text in texts["map"] if text.startswith("broker-")])
        self.assertEqual(places, sorted(text for text in texts["topics"] if text.startswith("broker-")))
        self.assertEqual(["public/default/orders (east.test)"], [t for t in texts["moves"] if t.startswith("public/")])
        self.assertEqual(["a/b/c (east.test)", "a/b/c (west.test)"],
                         sorted(text for text in texts["failures"] if text.startswith("a/b/")))  # fmt: skip
        self.assertEqual(["on 2 brokers of 2 clusters"], texts["note-topics"])

    async def test_map(self) -> None:
        """Each topic is a cell in the map; its size and colour grow with its lookups, and a move is marked."""
        sample = self.busy()
        page = await self.page()
        cells = {cell["title"].partition("\n")[0]: cell for cell in page.classes("cell")}
        ordered = sorted((e for e in sample.ledger.topics() if e.topic in cells), key=lambda entry: entry.lookups)
        most, least = cells[ordered[-1].topic], cells[ordered[0].topic]
        self.assertIn("heat-5", most["class"])
        self.assertIn("heat-0", least["class"])
        self.assertGreater(area(most), 10 * area(least))
        self.assertLess(1, len(page.classes("moved")))
        rest = [cell for cell in page.classes("rest") if "more topics: see the table" in cell["title"]]
        self.assertEqual(1, len(rest))

    async def test_hostile_text(self) -> None:
        """A topic with HTML in its name is escaped."""
        self.busy()
        page = await self.page()
        self.assertIn(HOSTILE.removeprefix("persistent://"), page.texts["failures"])
        self.assertEqual(["/icon.svg"], [found["src"] for tag, found in page.elements if tag == "img"])

    async def test_idle(self) -> None:
        """The page of a proxy without clients and inspection says so, and has no Pulsar sections."""
        self.serve(inspecting=False)
        page = await self.page()
        self.assertEqual(["0"], page.texts["tile-tunnels"])
        self.assertEqual(['Inspection is off: no listener has inspect = "pulsar".'], page.texts["no-topics"])
        self.assertEqual([__version__], page.texts["version"])
        self.assertIn("uninspected", next(found["class"] for tag, found in page.elements if tag == "body"))

    async def test_worker(self) -> None:
        """The page of a worker has its number, including 0."""
        self.serve(instance=0)
        self.assertEqual([f"{__version__}, worker 0"], (await self.page()).texts["version"])

    async def test_draining(self) -> None:
        """During a drain the page says so."""
        self.serve().proxy.ready = False
        self.assertEqual(["draining"], (await self.page()).texts["state"])

    async def test_targets(self) -> None:
        """Targets that are down, and drains, are shown; targets that are up are not."""
        proxy = self.serve().proxy
        why = "10.0.0.12:6651: Connection refused"
        proxy.targets += [TargetStatus("10.0.0.11:6651", "up", 4, ""), TargetStatus("10.0.0.12:6651", "down", 0, why)]
        proxy.drains.append(DrainStatus("target", "10.0.0.13:6651", NOW, 10.0, 5, 1, 3, ["192.0.2.1:5"]))
        wanted = [f"Target 10.0.0.12:6651 is down: {why}", "Draining target 10.0.0.13:6651: 5 closed, 3 left"]
        self.assertEqual(wanted, (await self.page()).texts["warnings"])

    async def test_many_warnings(self) -> None:
        """Of many warnings the first are shown, with their total number."""
        self.serve().proxy.warnings += [f"warning {number}" for number in range(300)]
        texts = (await self.page()).texts["warnings"]
        self.assertEqual(("warning 0", "warning 19"), (texts[0], texts[19]))
        self.assertEqual(["280 more warnings: see /status"], texts[20:])

    async def test_no_answer(self) -> None:
        """If the proxy does not answer, the last state stays, marked as outdated."""
        sample, looks = self.busy(), iter(range(100))

        def look() -> None:
            if next(looks) >= 3:
                raise ZeroDivisionError("gone")

        sample.proxy.look = look
        printed, _ = await self.run_chromium("--dump-dom", self.url)
        page = Reader(printed)
        self.assertEqual((["no answer"], ["20"]), (page.texts["state"], page.texts["tile-tunnels"]))
        self.assertIn("no answer from the proxy", page.texts["updated"][0])
        self.flushLoggedErrors(ZeroDivisionError)

    async def test_light_and_dark(self) -> None:
        """The page uses the browser's light or dark preference."""
        grounds = []
        for name, arguments in (("light", ()), ("dark", (DARK,))):
            self.busy()
            path = Path(self.mktemp() + f"-{name}.png").absolute()
            await self.run_chromium(f"--screenshot={path}", "--window-size=1440,1750", *arguments, self.url)
            picture = path.read_bytes()
            self.assertEqual((b"\x89PNG", 1440, 1750), (picture[:4], *struct.unpack(">II", picture[16:24])))
            self.assertGreater(len(picture), 100_000)
            grounds.append(picture)
        self.assertNotEqual(*grounds)


class RebindingTests(BrowserTestCase):
    """Requests from pages of other sites."""

    async def test_rebound_name(self) -> None:
        """A rebound host name gets only an error with the reason."""
        self.busy()
        url = self.url.replace("127.0.0.1", "evil.test") + "status"
        printed, _ = await self.run_chromium("--host-resolver-rules=MAP evil.test 127.0.0.1", "--dump-dom", url)
        self.assertIn("Host is not a name of this endpoint", printed)
        self.assertNotIn("ab12cd34", printed)


def area(cell: dict[str, str]) -> float:
    """The area of a cell in the map, in square pixels."""
    sides = [re.search(rf"{side}: ([0-9.]+)px", cell["style"]) for side in ("width", "height")]
    width, height = (float(side[1]) for side in sides if side)
    return width * height
