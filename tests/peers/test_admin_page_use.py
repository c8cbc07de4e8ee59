"""The admin page in a real browser: its use by keyboard, screen reader, on a phone, and by an operator who drains."""

from __future__ import annotations

import json
from typing import Any

from sniproxy.admin.history import Step, TargetStep
from sniproxy.admin.sources import RouteStatus, TargetStatus
from tests.admin.sample import NOW, SampleLive, SampleSite, connection, refused
from tests.admin.token import TOKEN
from tests.peers.browsercase import SHOWN, BrowserTestCase, items, rows, text
from tests.peers.pageaudit import CONTRAST, SCROLLED, UNNAMED, WIDE
from tests.support.browser import Browser
from tests.support.sockets import in_thread

LONG = "a-very-long-name-of-a-broker-in-a-namespace-of-kubernetes.headless-service.namespace.svc.cluster.local"

ACTIVE = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"

CURVES = """["spark-tunnels", "spark-traffic"]
    .every((id) => document.querySelector(`#${id} polyline`)?.getAttribute("points").length > 100)"""

PAUSE = "new Promise((done) => setTimeout(done, %d))"


class UseTestCase(BrowserTestCase):
    """A fake proxy with a broker that is up, one that is down, 60 tunnels and refusals."""

    def busy(self) -> SampleSite:
        """The site, with a token for changes."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        proxy = sample.proxy
        for number, (state, why) in enumerate((("up", ""), ("down", "Connection refused")), 1):
            name = f"broker-{number}.pulsar.test"
            target = f"10.0.0.{number}:6651"
            proxy.targets.append(TargetStatus(target, state, 3, why, NOW - 9, NOW - 1, [name, LONG], [name]))
            proxy.routes.append(RouteStatus(name, None, [target, LONG], why or None, [("public", name)]))
        proxy.targets.append(TargetStatus(f"{LONG}:6651", "ejected", 0, f"{LONG}:6651: Connection refused"))
        proxy.tunnels += [SampleLive(connection(number), 5, 7) for number in range(60)]
        other: dict[str, Any] = {"client": "198.51.100.77:4242", "server_name": LONG, "target": f"{LONG}:6651"}
        proxy.tunnels[0] = SampleLive(connection(1000, **other))
        for number in range(7):
            sample.ended(refused(number, server_name=LONG, reason=f"no route has this name; the closest is {LONG}"))
        for number in range(120):
            end = NOW - 10 * (119 - number)
            counts = {"no_route": number % 3, "not_tls": number % 2}
            step = Step(number, 1, counts, 10, 20, {"10.0.0.1:6651": TargetStep(number)})
            sample.site.sampler.history.add(step, {"10.0.0.1:6651": 1.0}, end)
        return sample


class ReaderTests(UseTestCase):
    """A narrow screen, a screen reader, and both colour schemes."""

    async def test_narrow(self) -> None:
        """At 390 pixels nothing is wider than the screen, however long the names are."""
        self.busy()
        look = ("[document.documentElement.scrollWidth, document.body.scrollWidth]", WIDE, SCROLLED)
        found = await self.browse(lambda browser: [browser.run(one) for one in look], width=390, height=844)
        self.assertEqual([[390, 390], [], []], found)

    async def test_contrast(self) -> None:
        """Every text has the contrast that WCAG 2 AA asks of small text, in both colour schemes."""
        sample = self.busy()
        sample.fill()
        for number, entry in enumerate(sample.ledger.topics()):
            entry.producers = number % 40
        for dark in (False, True):
            looked, bad = await self.browse(self.contrast, dark=dark)
            self.assertEqual([], bad, f"{dark=}")
            self.assertLess(200, looked)

    def contrast(self, browser: Browser) -> Any:
        """How many texts there are, and those with too little contrast."""
        browser.wait("document.querySelector('#picture text')")
        return browser.run(CONTRAST)

    async def test_schemes(self) -> None:
        """The page uses the browser's light or dark preference, and no motion where none is wanted."""
        self.busy()
        ground = "getComputedStyle(document.body).backgroundColor"
        grounds = [await self.browse(lambda browser: browser.run(ground), dark=dark) for dark in (False, True)]
        self.assertNotEqual(*grounds)
        moving = "(one) => getComputedStyle(one).transitionDuration !== '0s'"
        moves = f"[...document.querySelectorAll('*')].filter({moving}).length"
        self.assertEqual(0, await self.browse(lambda browser: browser.run(moves), still=True))

    async def test_names(self) -> None:
        """Each control, picture, table and section has a name, each heading cell a scope."""
        self.busy()
        self.assertEqual([], await self.browse(lambda browser: browser.run(UNNAMED)))

    async def test_announced(self) -> None:
        """A screen reader hears that a broker fails, politely."""
        sample = self.busy()

        def look(browser: Browser) -> Any:
            sample.proxy.targets[0] = TargetStatus("10.0.0.1:6651", "down", 3, "Connection refused")
            browser.wait("document.getElementById('announcements').textContent")
            return text(browser, "announcements"), browser.run("document.getElementById('announcements').ariaLive")

        self.assertEqual(("10.0.0.1:6651: down", "polite"), await self.browse(look))


class OperatorTests(UseTestCase):
    """The filter, the curves, and drains."""

    async def test_filter(self) -> None:
        """The filter finds a connection beyond the first page, because the proxy searches all of them."""
        self.busy()
        names = "#tunnels tbody th"

        def look(browser: Browser) -> Any:
            before = items(browser, names)
            browser.press("/")
            browser.write("198.51.100.77")
            browser.wait("document.querySelectorAll('#tunnels tbody tr').length === 1")
            return before, items(browser, names), text(browser, "tunnels-note"), rows(browser, "brokers")

        before, found, note, brokers = await self.browse(look)
        self.assertNotIn(LONG, before)
        self.assertEqual(([LONG], "1 of 60 match the filter", []), (found, note, brokers))

    async def test_pages_of_tunnels(self) -> None:
        """The next page and the order of the connections come from the proxy."""
        self.busy()

        def look(browser: Browser) -> Any:
            first = {row["Id"][0] for row in rows(browser, "tunnels")}
            browser.run("document.querySelector('[aria-label=\"Open connections: next page\"]').click()")
            browser.wait("document.querySelector('#tunnels').closest('section').textContent.includes('50 of 60')")
            second = {row["Id"][0] for row in rows(browser, "tunnels")}
            browser.run("document.querySelector('#tunnels .sort').click()")
            browser.wait("document.querySelector('#tunnels tbody tr').textContent.includes('198.51.100.77')")
            return first, second

        first, second = await self.browse(look)
        self.assertEqual((25, 25, set()), (len(first), len(second), first & second))

    async def test_reloaded(self) -> None:
        """A reloaded page has the curves of the last hour at once, and the refusals by their causes."""
        self.busy()

        def look(browser: Browser) -> Any:
            browser.wait(CURVES)
            browser.command("Page.reload")
            browser.wait(SHOWN)
            return browser.run(CURVES), items(browser, "#refusal-chart .causes li"), text(browser, "tile-refused")

        curves, causes, number = await self.browse(look)
        self.assertEqual((True, ["no route 120", "not tls 60"], "180"), (curves, causes, number))

    async def test_in_place(self) -> None:
        """An update keeps the rows, and the focus in them."""
        sample = self.busy()

        def look(browser: Browser) -> Any:
            browser.run("document.querySelector('#brokers tbody tr:last-child .drain').focus()")
            browser.run("document.querySelectorAll('#brokers tbody tr').forEach((row) => { row.marked = true; })")
            before = browser.run(ACTIVE)
            sample.proxy.targets[0] = TargetStatus("10.0.0.1:6651", "down", 12, "Connection refused")
            browser.wait("document.getElementById('brokers').textContent.includes('12')")
            marked = browser.run("[...document.querySelectorAll('#brokers tbody tr')].every((row) => row.marked)")
            return before, browser.run(ACTIVE), marked

        self.assertEqual(("Drain target 10.0.0.1:6651", "Drain target 10.0.0.1:6651", True), await self.browse(look))

    async def test_hidden(self) -> None:
        """A page that is not visible asks nothing, and asks at once when it becomes visible."""
        sample, asked = self.busy(), [0]

        def count() -> None:
            asked[0] += 1

        sample.proxy.look = count
        hide = (
            "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

        def look(browser: Browser) -> Any:
            browser.run(hide % "true")
            browser.run(PAUSE % 300)  # an answer may be under way
            before = asked[0]
            browser.run(PAUSE % 2500)
            hidden = asked[0] - before
            browser.run(hide % "false")
            browser.run(PAUSE % 300)
            return hidden, asked[0] - before

        self.assertEqual((0, 1), await self.browse(look))

    async def test_drain_by_keyboard(self) -> None:
        """The keyboard reaches the button of a broker, and confirms the drain; Escape changes nothing."""
        sample = self.busy()

        def look(browser: Browser) -> Any:
            browser.run("document.getElementById('brokers-title').focus()")
            for _ in range(40):
                browser.press("Tab")
                if str(browser.run(ACTIVE)).startswith("Drain target 10.0.0.2"):
                    break
            outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
            browser.press("Enter")
            title, focused = text(browser, "confirm-title"), browser.run(ACTIVE)
            browser.press("Escape")
            browser.wait("!document.getElementById('confirm').open")
            back = browser.run(ACTIVE)
            none = list(sample.proxy.drains)
            browser.press("Enter")
            browser.run("document.getElementById('confirm-token').focus()")
            browser.write(TOKEN)
            browser.press("Enter")
            browser.wait("document.querySelector('#drains .text')")
            return outline, title, focused, back, none, items(browser, "#drains .text"), text(browser, "announcements")

        outline, title, focused, back, none, drains, said = await self.browse(look)
        self.assertEqual(("solid", "Drain target 10.0.0.2:6651?"), (outline, title))
        self.assertEqual(("confirm-rate", "Drain target 10.0.0.2:6651", []), (focused, back, none))
        self.assertTrue(drains[0].startswith("target 10.0.0.2:6651, begun"), drains)
        self.assertEqual("Draining target 10.0.0.2:6651", said)
        self.assertEqual(["10.0.0.2:6651"], [one.name for one in sample.proxy.drains])

    async def test_wrong_token(self) -> None:
        """A wrong token changes nothing; the dialog says why, and stays."""
        sample = self.busy()

        def look(browser: Browser) -> Any:
            browser.run("document.querySelector('#brokers .drain').click()")
            browser.run("document.getElementById('confirm-token').value = 'wrong'")
            browser.run("document.getElementById('confirm-yes').click()")
            browser.wait("document.getElementById('confirm-error').textContent")
            return text(browser, "confirm-error"), browser.run("document.getElementById('confirm').open")

        found, stays = await self.browse(look, quiet=False)
        self.assertTrue(found.startswith("missing or wrong token"), found)
        self.assertEqual((True, []), (stays, sample.proxy.drains))

    async def test_token_in_memory(self) -> None:
        """The token is used again for the next change, is stored nowhere, and is gone after a reload."""
        sample = self.busy()
        give = f"document.getElementById('confirm-token').value = {json.dumps(TOKEN)}"
        press = "document.getElementById('confirm-yes').click()"
        places = "localStorage, sessionStorage, document.cookie, location.href, document.documentElement.outerHTML"
        stored = f"JSON.stringify([{places}])"

        def look(browser: Browser) -> Any:
            browser.run(f"document.querySelector('#brokers .drain').click(); {give}; {press}")
            browser.wait("document.querySelector('#drains .drain')")
            browser.run(f"document.querySelector('#drains .drain').click(); {press}")
            browser.wait("!document.querySelector('#drains .drain')")
            kept = browser.run(stored)
            browser.command("Page.reload")
            browser.wait(SHOWN)
            browser.run(f"document.querySelector('#brokers .drain').click(); {press}")
            browser.wait("document.getElementById('confirm-error').textContent")
            return kept, text(browser, "confirm-error")

        kept, error = await self.browse(look, quiet=False)
        self.assertNotIn(TOKEN, kept)
        self.assertTrue(error.startswith("missing or wrong token"), error)
        self.assertEqual([], sample.proxy.drains)


class RebindingTests(UseTestCase):
    """Requests from pages of other sites."""

    async def test_rebound_name(self) -> None:
        """A rebound host name gets only an error with the reason."""
        self.busy()
        url = self.url.replace("127.0.0.1", "evil.test") + "status"

        def look() -> str:
            with Browser("--host-resolver-rules=MAP evil.test 127.0.0.1") as browser:
                browser.open(url)
                browser.wait("document.body?.textContent.includes('Host')")
                return str(browser.run("document.body.textContent"))

        printed = await in_thread(look)
        self.assertIn("Host is not a name of this endpoint", printed)
        self.assertNotIn("ab12cd34", printed)
