"""The admin endpoint's page in a real browser: headless Chromium, which runs its script against a made-up proxy."""

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
    """Texts of a document by the id of the element around them, and its elements' names, classes and titles."""

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
    """A site over a made-up proxy, and Chromium."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Skips where there is no Chromium."""
        require("chromium")
        await super().setUp()

    def serve(self, **options: Any) -> SampleSite:
        sample = SampleSite(reactor, **options)
        port: Any = reactor.listenTCP(0, cast(Any, sample.site), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        return sample

    def busy(self) -> SampleSite:
        """A site of a proxy where two seconds pass whenever the page asks."""
        sample, dice = self.serve(), random.Random(7)
        sample.fill()
        sample.proxy.look = lambda: sample.pass_time(2.0, dice)
        return sample

    def run_chromium(self, *arguments: str) -> Deferred[tuple[str, list[str]]]:
        """What it prints, and what the page's console said: violations of its policy among it."""
        profile = self.mktemp()

        def ran() -> tuple[str, list[str]]:
            command = ["chromium", *FLAGS, f"--user-data-dir={Path(profile).absolute()}", *arguments]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_PATIENCE)
            return done.stdout.decode(), re.findall(r".*CONSOLE.*", done.stderr.decode(errors="replace"))

        return in_thread(ran)

    async def page(self, *arguments: str) -> Reader:
        """The document after its script has run for some of its seconds; the console said nothing."""
        printed, console = await self.run_chromium("--dump-dom", "--window-size=1440,1750", *arguments, self.url)
        self.assertEqual([], console)
        return Reader(printed)


class PageTests(BrowserTestCase):
    """What a person sees."""

    async def test_busy(self) -> None:
        """Tunnels, brokers with their topics, moves, failures, refusals, rates and warnings are there."""
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
        self.assertEqual(6, len([text for text in texts["moves"] if text.startswith("shop/")]))
        self.assertIn("ServiceNotReady", texts["failures"])
        self.assertIn("broker-33.pulsar.test", texts["refusals"])

    async def test_clusters(self) -> None:
        """The same topic of two clusters is two cells and two lines, and it is said which is whose."""
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
        """In the map each topic is a cell, larger and stronger with its lookups, and marked when it has moved."""
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
        """A topic that is written as HTML is shown as it is written."""
        self.busy()
        page = await self.page()
        self.assertIn(HOSTILE.removeprefix("persistent://"), page.texts["failures"])
        self.assertEqual(["/icon.svg"], [found["src"] for tag, found in page.elements if tag == "img"])

    async def test_idle(self) -> None:
        """A proxy without clients and inspection has a page that says so, without the parts for Pulsar."""
        self.serve(inspecting=False)
        page = await self.page()
        self.assertEqual(["0"], page.texts["tile-tunnels"])
        self.assertEqual(['Inspection is off: no listener has inspect = "pulsar".'], page.texts["no-topics"])
        self.assertEqual([__version__], page.texts["version"])
        self.assertIn("uninspected", next(found["class"] for tag, found in page.elements if tag == "body"))

    async def test_worker(self) -> None:
        """The page of one of several workers says of which, also of the first."""
        self.serve(instance=0)
        self.assertEqual([f"{__version__}, worker 0"], (await self.page()).texts["version"])

    async def test_draining(self) -> None:
        """While the proxy drains, the page says that."""
        self.serve().proxy.ready = False
        self.assertEqual(["draining"], (await self.page()).texts["state"])

    async def test_targets(self) -> None:
        """A target that is down, and what is being drained, stand where an operator looks; those that are up do not."""
        proxy = self.serve().proxy
        why = "10.0.0.12:6651: Connection refused"
        proxy.targets += [TargetStatus("10.0.0.11:6651", "up", 4, ""), TargetStatus("10.0.0.12:6651", "down", 0, why)]
        proxy.drains.append(DrainStatus("target", "10.0.0.13:6651", NOW, 10.0, 5, 1, 3, ["192.0.2.1:5"]))
        wanted = [f"Target 10.0.0.12:6651 is down: {why}", "Draining target 10.0.0.13:6651: 5 closed, 3 left"]
        self.assertEqual(wanted, (await self.page()).texts["warnings"])

    async def test_many_warnings(self) -> None:
        """Of very many warnings the first are shown, and how many there are."""
        self.serve().proxy.warnings += [f"warning {number}" for number in range(300)]
        texts = (await self.page()).texts["warnings"]
        self.assertEqual(("warning 0", "warning 19"), (texts[0], texts[19]))
        self.assertEqual(["280 more warnings: see /status"], texts[20:])

    async def test_no_answer(self) -> None:
        """When the proxy no longer answers, what it said last stays, marked as old."""
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
        """It paints itself light or dark, as the browser prefers."""
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
    """What another site's page can do: nothing."""

    async def test_rebound_name(self) -> None:
        """A name that was made to lead here gets no answer but the reason."""
        self.busy()
        url = self.url.replace("127.0.0.1", "evil.test") + "status"
        printed, _ = await self.run_chromium("--host-resolver-rules=MAP evil.test 127.0.0.1", "--dump-dom", url)
        self.assertIn("Host is not a name of this endpoint", printed)
        self.assertNotIn("ab12cd34", printed)


def area(cell: dict[str, str]) -> float:
    """Of a cell in the map, in square pixels."""
    sides = [re.search(rf"{side}: ([0-9.]+)px", cell["style"]) for side in ("width", "height")]
    width, height = (float(side[1]) for side in sides if side)
    return width * height
