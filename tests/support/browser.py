"""A real browser: headless Chromium, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from tests.support import programs

PATIENCE_S = 30.0
"""Seconds for one command, and for a condition to become true. Only a test that fails takes this long."""

POLL_MS = 50
"""Milliseconds between two looks at a condition."""

_WAIT = """(async () => {
    for (const until = Date.now() + %(patience)d; Date.now() < until;) {
        try { const value = %(script)s; if (value) return value; } catch { /* not yet */ }
        await new Promise((done) => setTimeout(done, %(pause)d));
    }
    throw new Error("not true");
})()"""

_AS_3_AND_4 = (
    "import fcntl, os, sys\n"
    # Through unused descriptors, because 3 may be the one to write to.
    "read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 5) for fd in sys.argv[1:3])\n"
    "os.dup2(read, 3)\n"
    "os.dup2(write, 4)\n"
    "os.execvp(sys.argv[3], sys.argv[3:])\n"
)
"""Runs a command whose descriptors 3 and 4 are two others."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
    "--disable-dev-shm-usage", "--force-device-scale-factor=1",
)  # fmt: skip


class BrowserError(Exception):
    """A script of the test failed in the page, or a condition did not become true."""


class Browser:
    """Chromium with one tab. All calls block: run them in a thread. Use it as a context manager.

    @ivar console: messages of the page's console, errors of its scripts and violations of its policy so far.
    """

    def __init__(self, *flags: str) -> None:
        self.console: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="browser-")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Chromium reads commands at descriptor 3 and writes answers to 4, each ended by a zero byte.
        chromium = ["chromium", *FLAGS, f"--user-data-dir={self._profile}", *flags, "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _AS_3_AND_4, str(to_read), str(to_write), *chromium],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(to_read, to_write), start_new_session=True,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        targets = self.command("Target.getTargets")["targetInfos"]
        tab = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.command("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium, and remove its profile."""
        programs.kill(self._process)
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._profile, ignore_errors=True)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol. @return: its result. @raise BrowserError: it failed."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, url: str, width: int = 1440, height: int = 1000, dark: bool = False, still: bool = False) -> None:
        """Open a page. @param dark, still: the reader prefers dark colours, and no motion."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        if still:
            features.append({"name": "prefers-reduced-motion", "value": "reduce"})
        self.command("Emulation.setEmulatedMedia", features=features)
        self.resize(width, height)
        self.command("Page.navigate", url=url)

    def resize(self, width: int, height: int = 1000) -> None:
        """Set the size of the window, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def run(self, script: str) -> Any:
        """The JSON value of an expression, which may be a promise. @raise BrowserError: it throws."""
        found = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression is true. @return: its value. @raise BrowserError: it does not become true."""
        until, why = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < until:
            try:
                return self.run(_WAIT % {"script": script, "patience": 1000 * PATIENCE_S, "pause": POLL_MS})
            except BrowserError as error:  # another document may have been loaded meanwhile
                why = str(error)
        raise BrowserError(f"not true after {PATIENCE_S:g} s: {script}: {why}")

    def press(self, key: str, text: str = "", code: int = 0, modifiers: int = 0) -> None:
        """Press and release a key, as "Tab", "Enter" or "/". @param modifiers: 8 for Shift."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        text = text or {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        found = {"key": key, "code": key, "windowsVirtualKeyCode": code or codes.get(key, 0), "modifiers": modifiers}
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **found)
        self.command("Input.dispatchKeyEvent", type="keyUp", **found)

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.command("Input.insertText", text=text)

    def screenshot(self, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        found = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], 2 * PATIENCE_S)[0]:
                raise BrowserError("Chromium does not answer")
            some = os.read(self._read, 1 << 20)
            if not some:
                raise BrowserError("Chromium has ended")
            self._buffer += some
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        found = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(one.get("value", one.get("description"))) for one in found["args"]))
            case "Runtime.exceptionThrown":
                details = found["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded":
                self.console.append(f"{found['entry']['text']} {found['entry'].get('url', '')}".strip())
