"""Upgrades of the program: their results, and the requests for them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from sniproxy.admin.query import ErrorAnswer

NO_UPGRADE = "this process cannot upgrade itself: it is a worker, or another program embeds the proxy"
"""Why there is no upgrade."""


@attrs.frozen
class UpgradeReport:
    """The result of an upgrade, in which a new process takes over the listeners and tunnels of this one.

    @ivar why: why it failed; this process continues. None: it succeeded.
    @ivar pid: the new process. None: there is none.
    @ivar moved: tunnels that the new process has taken over.
    @ivar stayed: tunnels that stay with this process until they end. @ivar seconds: the duration of the upgrade.
    @ivar in_charge: the new process accepts the connections. It can be, although some tunnels could not move.
    """

    why: str | None
    pid: int | None = None
    moved: int = 0
    stayed: int = 0
    seconds: float = 0.0
    in_charge: bool = False


@attrs.frozen
class OldProcess:
    """A process that an upgrade has replaced. It keeps the tunnels that could not move.

    @ivar tunnels: those that are left. @ivar ends: when it ends them, in seconds since 1970. None: it does not.
    """

    pid: int
    tunnels: int
    ends: float | None = None


Upgrade = Callable[[], Deferred[UpgradeReport]]
"""Upgrades the program. @return: fires when the upgrade has ended, also if it failed."""


def upgrade_document(report: UpgradeReport) -> bytes:
    """The JSON of the result of an upgrade that has succeeded."""
    document = {
        "pid": report.pid,
        "old_pid": os.getpid(),
        "moved": report.moved,
        "stayed": report.stayed,
        "seconds": round(report.seconds, 3),
    }
    return json.dumps(document).encode() + b"\n"


class UpgradeRequests:
    """Runs the upgrades that requests ask for, one at a time."""

    def __init__(self) -> None:
        self._running = False

    def begin(self, upgrade: Upgrade | None) -> Deferred[bytes]:
        """Begin an upgrade. @param upgrade: None: this process cannot upgrade itself.

        @return: fires with the JSON of the result, or fails with an L{ErrorAnswer} of 500 with the reason. To cancel it
            does not cancel the upgrade.
        @raise ErrorAnswer: 409: there is no upgrade, or one is running.
        """
        if upgrade is None:
            raise ErrorAnswer(409, NO_UPGRADE)
        if self._running:
            raise ErrorAnswer(409, "an upgrade is running")
        self._running = True
        answer: Deferred[bytes] = Deferred()
        maybeDeferred(upgrade).addBoth(self._ended).addCallbacks(answer.callback, answer.errback)
        return answer

    def _ended(self, result: UpgradeReport | Failure) -> bytes:
        self._running = False
        if isinstance(result, Failure):
            result.raiseException()
        if result.why is not None:
            raise ErrorAnswer(500, result.why)
        return upgrade_document(result)
