"""Plays one side of a conversation, and compares what the other side sends with the recording. Pure.

The frames of the player go out in the recorded order, each after all frames of the peer that the recording has before
it. A frame of the peer is compared with the recorded ones that are due; the order of frames that do not depend on each
other may be another one. PING and PONG are answered, not compared. A payload that was struck out, but came from the
peer in this run, is sent back as it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import attrs

from sniproxy.conversation.brokers import is_proxied
from sniproxy.conversation.comparison import Comparison, FieldDifference, Rules, translate
from sniproxy.conversation.entry import build, describe
from sniproxy.conversation.mapping import Mapping, domain_of
from sniproxy.conversation.striking import is_struck
from sniproxy.conversation.textform import Conversation, Line, Side
from sniproxy.conversation.wire import as_base64, bytes_of
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import Frame
from sniproxy.util.text import bounded

MAX_HELD_BYTES = 64 << 20
"""Bytes of payloads of the peer that are held."""

LOOK_AHEAD = 64
"""Recorded frames of the peer among which one is found for a frame that came."""

MAX_DIFFERENCES = 100
"""Further differences are counted, not kept."""

_CHOSEN_BY_CLIENT = ("request_id", "producer_id", "consumer_id", "watcher_id", "watch_id", "session_id")
_KEEP_ALIVE = {"PING", "PONG"}


@attrs.frozen
class Difference:
    """One thing in which this run differs from the recording.

    @ivar line: the line of the file; None: no recorded frame. @ivar what: the command. @ivar path: the field; empty:
        the whole frame. @ivar expected: what was recorded. @ivar came: what came. All are printable.
    """

    line: int | None
    what: str
    path: str
    expected: str
    came: str

    def text(self, file: str) -> str:
        """The difference in three lines."""
        where = file if self.line is None else f"{file}:{self.line}"
        subject = f"{self.what} {self.path}".strip()
        return f"{where}: {subject}\n  expected: {self.expected}\n  came:     {self.came}"


@attrs.frozen
class Outgoing:
    """A frame to send. C{wait_s}: the recorded seconds between it and the frame before it."""

    frame: Frame
    command: str
    wait_s: float


@attrs.frozen
class Login:
    """Credentials that take the place of recorded ones that were struck out."""

    method: str
    data: bytes = attrs.field(repr=False)


class Player:
    """Plays one side. Call `outgoing` until it returns None, then `receive` for each frame that comes, and so on.

    @param plays: the side to play. @param url_here: returns what a client gets for the URL of a broker. None: that URL.
    @param login: for a client. None: as recorded.
    @ivar differences: the first `MAX_DIFFERENCES`. @ivar count: of all.
    """

    def __init__(
        self,
        conversation: Conversation,
        plays: Side,
        rules: Rules,
        url_here: Callable[[str], str] | None = None,
        login: Login | None = None,
    ) -> None:
        self._lines = [line for line in conversation.lines if line.entry["command"] not in _KEEP_ALIVE]
        self._plays = plays
        self._peer = "client" if plays == "broker" else "broker"
        self._url_here = url_here
        self._login = login
        self._mapping = Mapping(renews_requests=plays == "broker")
        self._comparison = Comparison(self._mapping, rules)
        self._strict = rules.strict
        self._payloads: dict[str, dict[str, str]] = {}  # those that came, by their hash
        self._held = 0
        self._at = 0
        self._met: set[int] = set()
        self.differences: list[Difference] = []
        self.count = 0

    @property
    def done(self) -> bool:
        """Whether all recorded frames were sent or have come."""
        return self._at >= len(self._lines)

    @property
    def awaited(self) -> Line | None:
        """The recorded frame of the peer that must come next. None: there is none."""
        self._skip()
        if self.done or self._lines[self._at].side == self._plays:
            return None
        return self._lines[self._at]

    def outgoing(self) -> Outgoing | None:
        """The next frame to send. None: a frame of the peer must come first, or all were sent."""
        self._skip()
        if self.done or self._lines[self._at].side != self._plays:
            return None
        line = self._lines[self._at]
        wait_s = line.time - (self._lines[self._at - 1].time if self._at else line.time)
        self._at += 1
        entry = translate(line.entry, self._mapping, None if is_proxied(line.entry) else self._url_here)
        if self._plays == "client":
            self._bind_own(line.entry)
        entry = self._with_payload(entry)
        return Outgoing(build(self._with_login(entry)), entry["command"], max(0.0, wait_s))

    def receive(self, frame: Frame) -> Frame | None:
        """Compare a frame that came. @return: a frame to send at once, in answer to PING; else None.

        Raises `CommandError` if it cannot be read.
        """
        came = describe(frame)
        command = came["command"]
        if command in _KEEP_ALIVE:
            return _PONG if command == "PING" else None
        found = self._find(came)
        if found is None:
            awaited = self.awaited
            self._add(
                Difference(
                    None if awaited is None else awaited.number,
                    command,
                    "",
                    "the end" if awaited is None else _of(self._peer, awaited.entry["command"]),
                    f"{_of(self._peer, command)}, which the recording does not have here{_topic(came)}",
                )
            )
            return None
        index, line = found
        self._remember(came.get("payload"))
        for each in self._comparison.differences(line.entry, came, learn=True):
            self._add(_difference(line, each))
        if self._strict and index != self._at:
            first = self._lines[self._at]
            expected = f"after {first.entry['command']} of line {first.number}"
            self._add(Difference(line.number, command, "", expected, "before it"))
        self._met.add(index)
        return None

    def closed(self, how: str = "") -> None:
        """The peer has closed the connection. @param how: why, if it is known."""
        self._skip()
        if self.done:
            return
        line = self._lines[self._at]
        left = sum(1 for index in range(self._at, len(self._lines)) if index not in self._met)
        why = f" ({bounded(how)})" if how else ""
        self._add(
            Difference(
                line.number,
                line.entry["command"],
                "",
                _of(line.side, line.entry["command"]),
                f"the {self._peer} closed the connection{why}; {left} recorded frames are left",
            )
        )

    def timed_out(self, seconds: float) -> None:
        """The frame that must come has not come."""
        line = self.awaited
        if line is not None:
            command = line.entry["command"]
            came = f"nothing within {seconds:g} s"
            self._add(Difference(line.number, command, "", _of(self._peer, command), came))

    def unreadable(self, reason: str) -> None:
        """What the peer sent is not Pulsar."""
        awaited = self.awaited
        number = None if awaited is None else awaited.number
        self._add(Difference(number, "stream", "", "Pulsar frames", f"not Pulsar: {bounded(reason)}"))

    def _bind_own(self, entry: dict[str, Any]) -> None:
        """The ids that a client chooses stand for themselves: the broker's answers must have them."""
        for name in _CHOSEN_BY_CLIENT:
            value = entry.get("fields", {}).get(name)
            domain = domain_of(name, {}, None, entry["command"])
            if isinstance(value, int) and domain is not None:
                self._mapping.bind(domain, value, value)

    def _find(self, came: dict[str, Any]) -> tuple[int, Line] | None:
        """The recorded frame that is meant: the first that equals it, else the first with its command."""
        near: tuple[int, Line] | None = None
        seen = 0
        self._skip()
        for index in range(self._at, len(self._lines)):
            line = self._lines[index]
            if line.side == self._plays or index in self._met:
                continue
            seen += 1
            if seen > LOOK_AHEAD:
                break
            if line.entry["command"] == came["command"]:
                if not self._comparison.differences(line.entry, came, learn=False):
                    return index, line
                near = near or (index, line)
        return near

    def _skip(self) -> None:
        """Go on to the first recorded frame that was neither sent nor has come."""
        while self._at in self._met:
            self._met.discard(self._at)
            self._at += 1

    def _remember(self, payload: Any) -> None:
        """Hold a payload of the peer: the recorded broker sends it back, but it may be struck out of the recording."""
        data = bytes_of(payload)
        if data is not None and self._held + len(data) <= MAX_HELD_BYTES:
            self._held += len(data)
            self._payloads[hashlib.sha256(data).hexdigest()] = payload

    def _with_payload(self, entry: dict[str, Any]) -> dict[str, Any]:
        payload = entry.get("payload")
        known = self._payloads.get(str(payload.get("sha256"))) if isinstance(payload, dict) else None
        return entry if known is None else {**entry, "payload": known}

    def _with_login(self, entry: dict[str, Any]) -> dict[str, Any]:
        fields = entry.get("fields", {})
        if self._login is None or entry["command"] != "CONNECT":
            return entry
        data = {"auth_method_name": self._login.method, "auth_data": as_base64(self._login.data)}
        kept = {name: value for name, value in fields.items() if not is_struck(value)}
        return {"command": "CONNECT", "fields": {**kept, **data}}

    def _add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference)


def needs_login(conversation: Conversation) -> bool:
    """Whether credentials in CONNECT were struck out, so that a client needs others."""
    connects: Collection[Line] = [line for line in conversation.lines[:8] if line.entry["command"] == "CONNECT"]
    return any(is_struck(line.entry.get("fields", {}).get("auth_data")) for line in connects)


def _difference(line: Line, each: FieldDifference) -> Difference:
    return Difference(line.number, line.entry["command"], each.path, each.expected, each.came)


def _of(side: str, command: str) -> str:
    return f"{command} of the {side}"


def _topic(entry: dict[str, Any]) -> str:
    topic = entry.get("fields", {}).get("topic")
    return f" (topic {bounded(topic, 160)})" if isinstance(topic, str) else ""


_PONG = Frame(write(pb.CommandPong())[8:])
