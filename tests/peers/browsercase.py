"""Base of the tests that open the admin page in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tests.admin.sample import SampleSite
from tests.peers.needs import require
from tests.support.browser import Browser
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread

T = TypeVar("T")

SHOWN = "document.getElementById('updated')?.textContent.startsWith('updated')"
"""The page has shown an answer."""

_TEXT = "document.getElementById({id}).textContent.trim()"

_ROWS = """[...document.querySelectorAll("#{id} tbody tr")].map((row) => Object.fromEntries(
    [...row.cells].map((cell) => {
        const lines = [...cell.querySelectorAll(".line")].map((line) => line.textContent);
        return [cell.dataset.label ?? "Action", lines.length ? lines : [cell.textContent]];
    })))"""

_ITEMS = "[...document.querySelectorAll({selector})].map((one) => one.textContent)"


class BrowserTestCase(SocketTestCase):
    """A site of a fake proxy, and Chromium."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Skip the test without Chromium."""
        require("chromium")
        await super().setUp()

    def serve(self, **options: Any) -> SampleSite:
        """Serve the page of a fake proxy."""
        sample = SampleSite(reactor, **options)
        port: Any = reactor.listenTCP(0, cast(Any, sample.site), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        return sample

    async def browse(self, look: Callable[[Browser], T], quiet: bool = True, **opening: Any) -> T:
        """Open the page, and look at it once it shows an answer. @param opening: parameters of C{Browser.open}.

        @param quiet: assert that the console has no message: no error, and no violation of the page's policy.
        """

        def looked() -> tuple[T, list[str]]:
            with Browser() as browser:
                browser.open(self.url, **opening)
                browser.wait(SHOWN)
                return look(browser), browser.console

        found, console = await in_thread(looked)
        if quiet:
            self.assertEqual([], console)
        return found


def text(browser: Browser, name: str) -> str:
    """The text of an element with this id."""
    found: str = browser.run(_TEXT.format(id=json.dumps(name)))
    return found


def rows(browser: Browser, name: str) -> list[dict[str, list[str]]]:
    """The shown rows of a table: the lines of each cell, by the label of its column."""
    found: list[dict[str, list[str]]] = browser.run(_ROWS.replace("{id}", name))
    return found


def items(browser: Browser, selector: str) -> list[str]:
    """The texts of all elements that a CSS selector finds."""
    found: list[str] = browser.run(_ITEMS.format(selector=json.dumps(selector)))
    return found
