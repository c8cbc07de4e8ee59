"""The admin page in a real browser, of a real proxy with real connections."""

from __future__ import annotations

import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

from tests.admin.token import TOKEN
from tests.peers.browsercase import BrowserTestCase, items, rows, text
from tests.support.browser import Browser
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S, in_thread
from tests.support.twistdprocess import TwistdProcess

TUNNELS = 30

CONFIGURATION = """
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
name = "public"
[admin]
endpoint = "tcp:0:interface=127.0.0.1"
token_file = "{token}"
[access_log]
path = "{log}"
[[route]]
server_name = "broker-1.pulsar.test"
target = "127.0.0.1:{up}"
[[route]]
server_name = "broker-2.pulsar.test"
target = "127.0.0.1:{down}"
"""

STATUS = "fetch('/status').then((answer) => answer.json())"


class LivePageTests(BrowserTestCase):
    """A proxy with thirty tunnels to one broker, and another broker that refuses connects."""

    def start(self) -> tuple[str, str]:
        """Start broker and proxy, and set the page's address. @return: the targets, the one that fails last."""
        broker = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(broker.close)
        threading.Thread(target=self.serve_broker, args=(broker,), daemon=True).start()
        reserved = socket.socket()  # bound, but it does not listen: a connect is refused
        reserved.bind(("127.0.0.1", 0))
        self.addCleanup(reserved.close)
        up, down = broker.getsockname()[1], reserved.getsockname()[1]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        token = folder / "token"
        token.touch(0o600)
        token.write_text(f"{TOKEN}\n")
        file = folder / "sniproxy.toml"
        file.write_text(CONFIGURATION.format(token=token, log=folder / "log", up=up, down=down))
        proxy = TwistdProcess(self, ["--config", str(file)])
        self.address = proxy.address
        found = re.search(r"admin\S*.*?(127\.0\.0\.1:\d+)", proxy.said)
        assert found, proxy.said
        self.url = f"http://{found[1]}/"
        return f"127.0.0.1:{up}", f"127.0.0.1:{down}"

    def serve_broker(self, broker: socket.socket) -> None:
        """Accept, and answer each first bytes with the same number of bytes."""
        while True:
            try:
                tunnel, _ = broker.accept()
            except OSError:
                return
            self.addCleanup(tunnel.close)
            tunnel.sendall(tunnel.recv(65_536))

    def connect(self, name: str) -> None:
        """Open a connection, and wait for the first byte or the end."""
        client = socket.create_connection(self.address, timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall(hello(name=name))
        client.recv(1)

    async def test_live(self) -> None:
        """The page has the numbers of /status, before and after a drain that its button begins."""
        up, down = await in_thread(self.start)
        for name in ["broker-1.pulsar.test"] * TUNNELS + ["broker-2.pulsar.test"] * 3 + ["nobody.test"] * 2:
            await in_thread(lambda name=name: self.connect(name))

        def look(browser: Browser) -> Any:
            full = f"document.getElementById('tile-tunnels').textContent === '{TUNNELS}'"
            browser.wait(full)
            before = self.seen(browser)
            browser.run(f"document.querySelector('[aria-label=\"Drain target {up}\"]').click()")
            browser.run("document.getElementById('confirm-rate').value = 1000")
            browser.run(f"document.getElementById('confirm-token').value = {json.dumps(TOKEN)}")
            browser.run("document.getElementById('confirm-yes').click()")
            browser.wait("document.getElementById('tile-tunnels').textContent === '0'")
            return before, self.seen(browser), items(browser, "#drains .text")

        before, after, drains = await self.browse(look)
        for status, brokers, routes, note in (before, after):
            self.assertEqual({one["target"]: (one["state"], str(one["connections"])) for one in status["targets"]},
                             {row["Broker"][0]: (row["State"][0], row["Tunnels"][0]) for row in brokers})  # fmt: skip
            self.assertEqual(
                {one["server_name"]: (str(one["connections"]), str(one["refused"])) for one in status["routes"]},
                {row["Route"][0]: (row["Tunnels"][0], row["Refused"][0]) for row in routes},
            )
            self.assertEqual(f"{status['live']} open", note)
        shown = {row["Broker"][0]: row for row in before[1]}
        self.assertEqual(([str(TUNNELS), f"most {TUNNELS}"], ["3", "3 refused"]),
                         (shown[up]["Tunnels"], shown[down]["Failed connects"]))  # fmt: skip
        self.assertEqual([["unchecked", "draining"], [TUNNELS, 0]], [
            [one[0]["targets"][0]["state"] for one in (before, after)], [one[0]["live"] for one in (before, after)],
        ])  # fmt: skip
        self.assertRegex(drains[0], rf"^target {up}, begun .*, 1000 a second: {TUNNELS} closed, 0 refused, 0 left$")

    def seen(self, browser: Browser) -> Any:
        """/status, and what the page shows once it is as new."""
        status = browser.run(STATUS)
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")  # it asks now
        browser.run("new Promise((done) => setTimeout(done, 500))")
        return status, rows(browser, "brokers"), rows(browser, "routes"), text(browser, "tunnels-note")
