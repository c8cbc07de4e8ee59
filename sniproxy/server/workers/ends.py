"""How a worker's process has ended, and how its upgrade."""

from __future__ import annotations

import signal

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated


@attrs.frozen
class Replaced:
    """How the upgrade of a worker has ended.

    @ivar why: why it failed; None: it succeeded. @ivar moved: tunnels of the new worker.
    @ivar stayed: tunnels of the old one. @ivar in_charge: whether the new one accepts the connections.
    @ivar died: whether the old one has exited. @ivar late: it has not answered in time, and may do so later.
    """

    why: str | None
    moved: int = 0
    stayed: int = 0
    in_charge: bool = False
    died: bool = False
    late: bool = False


def describe_end(reason: BaseException | None) -> str:
    """How a process exited, for the log."""
    if isinstance(reason, ProcessDone):
        return "exited"
    if isinstance(reason, ProcessTerminated):
        if reason.signal is not None:
            return f"was killed by {signal.Signals(reason.signal).name}"
        return f"exited with status {reason.exitCode}"
    return f"exited: {reason}"
