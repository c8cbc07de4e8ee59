"""A fault on purpose, as L{sniproxy.config.faults} makes it from a C{[[fault]]} table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """A fault on purpose.

    @ivar name: unique. @ivar listener: its name. None: all that can have the fault.
    @ivar command: the name of the type of Pulsar's commands that it is for. None: it is for connections.
    @ivar number: of that type. @ivar sender: C{client} or C{broker}: of the command, or of the bytes. None: both.
    @ivar topic: the full name, for itself and its partitions. None: all. @ivar server_name: a pattern. None: all.
    @ivar after_bytes: of the sender, in a connection. @ivar after_seconds: of a tunnel. None, both: from its beginning.
    @ivar nth: the first match that it applies to, from 1. None: 1. @ivar most: matches that it applies to; 0: no limit.
    @ivar probability: None: 1. @ivar seed: of the choice. None: it differs at each start.
    @ivar seconds: of a delay. @ivar rate: bytes per second. @ivar url: of a broker. None: none.
    @ivar connect: a redirect names the broker as the owner. @ivar error: the name of a ServerError.
    @ivar message: of the error. None: a general one.
    """

    name: str
    action: str
    listener: str | None = None
    command: str | None = None
    number: int | None = None
    sender: str | None = None
    topic: str | None = None
    server_name: str | None = None
    after_bytes: int | None = None
    after_seconds: float | None = None
    nth: int | None = None
    most: int = 0
    probability: float | None = None
    seed: int | None = None
    seconds: float = 0.0
    rate: float = 0.0
    url: str | None = None
    connect: bool = False
    error: str = ""
    message: str | None = None

    @property
    def trigger(self) -> str:
        """What it happens at, in a few words: C{the 3rd LOOKUP_RESPONSE of topic ...}."""
        parts = []
        if self.command is not None:
            parts.append(self.command if self.sender is None else f"{self.command} from the {self.sender}")
        elif self.after_seconds is not None:
            parts.append(f"{self.after_seconds:g} s of a connection")
        else:
            parts.append(f"{self.after_bytes or 0} bytes from the {self.sender}")
        parts += [] if self.topic is None else [f"of {self.topic}"]
        parts += [] if self.server_name is None else [f"to {self.server_name}"]
        parts += [] if self.listener is None else [f"on {self.listener}"]
        parts += [] if self.nth is None else [f"from number {self.nth} on"]
        parts += [f"at most {self.most} times"] if self.most else []
        parts += [] if self.probability is None else [f"with probability {self.probability:g}"]
        return ", ".join(parts)


def fault_values(fault: Fault) -> dict[str, Any]:
    """The fault for JSON, without what is absent, with the names of the configuration's keys."""
    shown = {
        "name": fault.name,
        "action": fault.action,
        "listener": fault.listener,
        "on": fault.command,
        "from": fault.sender,
        "topic": fault.topic,
        "server_name": fault.server_name,
        "after_bytes": fault.after_bytes,
        "after_seconds": fault.after_seconds,
        "nth": fault.nth,
        "times": fault.most,
        "probability": fault.probability,
        "seed": fault.seed,
        "seconds": fault.seconds or None,
        "rate": fault.rate or None,
        "url": fault.url,
        "response": "connect" if fault.connect else None,
        "error": fault.error or None,
        "message": fault.message,
    }
    return {key: value for key, value in shown.items() if value is not None}


def fault_warnings(faults: Sequence[Fault], workers: int = 1) -> list[str]:
    """The warning that faults are configured. Empty: none is. @param workers: processes that count for themselves."""
    if not faults:
        return []
    many = "a fault on purpose is" if len(faults) == 1 else f"{len(faults)} faults on purpose are"
    names = ", ".join(f"{one.name} ({one.action})" for one in faults[:5])
    more = ", ..." if len(faults) > 5 else ""
    counts = f"; each of {workers} workers counts for itself" if workers > 1 else ""
    return [
        f"{many} configured: {names}{more}{counts}: only for tests of clients; remove [[fault]] before clients depend "
        "on it"
    ]
