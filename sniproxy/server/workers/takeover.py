"""The supervisor's new program, which runs in the process of the one before: reads what that hands over."""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any

from twisted.logger import Logger

from sniproxy.admin.guard import HEADERS
from sniproxy.admin.upgrades import UpgradeReport, upgrade_document
from sniproxy.server.workers.handover import BadHandover, Handover, decode
from sniproxy.util.text import counted

log = Logger()

STATE = "SNIPROXY_SUPERVISOR"
"""The environment variable with the descriptor of the document. Behind it, as in C{7:8}, the descriptor to answer to:
then this program only checks the document."""


class Takeover:
    """What the program before this one has handed over.

    @param answer: the descriptor to answer to. None: this program takes over.
    @ivar handover: the document.
    """

    def __init__(self, handover: Handover, answer: int | None) -> None:
        self.handover = handover
        self._answer = answer
        self._text: str | None = handover.text

    def take_text(self) -> str | None:
        """The text of the workers' configuration, which may differ from that of the file. None after the first call."""
        text, self._text = self._text, None
        return text

    def adjust(self, twistd: MutableMapping[str, Any]) -> None:
        """Let twistd not become a daemon, because the process is one, or is not to be. Its pid file exists."""
        twistd["nodaemon"], twistd["pidfile"] = True, ""

    def answer(self) -> None:
        """This program can read the document, and its configuration."""
        if self._answer is not None:
            os.write(self._answer, b"ok\n")

    def finish(self, twistd: MutableMapping[str, Any] | None) -> None:
        """This program has taken over: it removes the pid file at its end, and answers those that wait."""
        if twistd is not None:
            twistd["pidfile"] = self.handover.pid_file
        result = self.handover.result
        report = UpgradeReport(
            None, os.getpid(), result.moved, result.stayed, max(monotonic() - result.began, 0.0), in_charge=True
        )
        log.info(
            "upgrade: replaced {workers} and the supervisor: {moved} moved",
            workers=counted(result.workers, "worker"),
            moved=counted(result.moved, "tunnel"),
        )
        whole = _http(upgrade_document(report))
        for number in self.handover.admin.answers:
            with suppress(OSError):
                os.write(number, whole)
            with suppress(OSError):
                os.close(number)


def unblock() -> None:
    """Handle the signals that wait since the program before this one has blocked them."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def received(environment: MutableMapping[str, str] = os.environ) -> Takeover | None:
    """What the program before this one hands over; the first call only. None: this process has just been started.

    @raise BadHandover: this program cannot read it.
    """
    value = environment.pop(STATE, None)
    if value is None:
        return None
    try:
        state, _, answer = value.partition(":")
        with open(int(state), "rb") as file:
            file.seek(0)
            data = file.read()
        return Takeover(decode(data), int(answer) if answer else None)
    except (ValueError, OSError) as error:
        raise BadHandover(f"{STATE}: no supervisor has set this environment variable; unset it ({error})") from error


def _http(body: bytes) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    head = [line.encode() for line in lines] + [b": ".join(header) for header in HEADERS.items()]
    return b"\r\n".join([*head, b"", body])
