"""Records connections of a running proxy.

A recording sends messages, each an object of JSON: ``{"connection": N, "line": LINE}`` with a line of the file of one
connection (`sniproxy.conversation.textform`); ``{"connection": N, "ended": HOW, "topics": [...]}`` behind the last one;
``{"skipped": COUNT}`` with the number of connections so far that are not recorded because there are too many.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Protocol

from twisted.logger import Logger

from sniproxy.admin.sources import Send
from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import Side
from sniproxy.relay.pacing import Tap
from sniproxy.util.buffered import BufferAccount, Share

log = Logger()

MAX_RECORDED = 200
"""Connections that are recorded at the same time."""

MAX_HELD_BYTES = 64 << 20
"""Bytes of unfinished frames, and of lines that wait for a wanted topic, of all connections together."""

SPARED_BYTES = 65_536
"""Bytes of one connection that do not end its recording, even if all together hold too many."""

BEHIND = "sniproxyctl does not read fast enough"
TOO_MUCH = "the proxy holds too many bytes of unfinished frames"


class Recorded(Protocol):
    """The record of a connection. C{target}: None: not dialled yet. C{reason}: why it ended; empty: in order."""

    @property
    def listener(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def target(self) -> str | None: ...
    @property
    def reason(self) -> str: ...


class LiveRecording:
    """Records connections that are opened from now on.

    @param listeners: their names. @param clock: returns seconds. @param account: counts bytes that are held.
    @ivar over: nothing more is recorded.
    """

    def __init__(
        self,
        listeners: Collection[str],
        what: Recording,
        send: Send,
        clock: Callable[[], float],
        account: BufferAccount,
    ) -> None:
        self.over = False
        self.what = what
        self.send = send
        self.clock = clock
        self.account = account
        self.held = 0
        self.listeners = frozenset(listeners)
        self._open: set[RecordedTap] = set()
        self._numbered = 0
        self._skipped = 0

    def tap(self, tap: Tap, record: Recorded) -> Tap:
        """The tap of a new connection, in front of its inspector's. The same tap: it is not recorded."""
        if self.over or record.listener not in self.listeners:
            return tap
        if len(self._open) >= MAX_RECORDED:
            self.skip()
            return tap
        found = RecordedTap(self, tap, record)
        self._open.add(found)
        return found

    def number(self) -> int:
        """The number of the next connection with a line."""
        self._numbered += 1
        return self._numbered

    def skip(self) -> None:
        """A connection is not recorded."""
        self._skipped += 1
        self.send(json.dumps({"skipped": self._skipped}), False)

    def forget(self, tap: RecordedTap) -> None:
        """A connection is not recorded any further."""
        self._open.discard(tap)

    def stop(self) -> None:
        """Record nothing more, and send nothing more."""
        self.over = True
        for tap in list(self._open):
            tap.leave()


class RecordedTap:
    """Tap of one connection that is recorded, in front of another one."""

    def __init__(self, recording: LiveRecording, tap: Tap, record: Recorded) -> None:
        self._recording: LiveRecording | None = recording
        self._tap = tap
        self._record = record
        self._recorder: Recorder | None = None
        self._number = 0  # 0: no line was sent
        self._behind = False
        self._held = 0
        self._share = Share(recording.account)

    def client(self, data: bytes) -> None:
        """Record bytes from the client."""
        self._tap.client(data)
        self._feed("client", data)

    def target(self, data: bytes) -> None:
        """Record bytes from the broker."""
        self._tap.target(data)
        self._feed("broker", data)

    def end(self) -> None:
        """The connection has ended."""
        self._tap.end()
        self._end(self._record.reason or "closed")

    def leave(self) -> None:
        """Record nothing more of this connection."""
        recording, self._recording, self._recorder = self._recording, None, None
        if recording is not None:
            recording.held -= self._held
            self._share.holds(0)
            recording.forget(self)

    def _feed(self, side: Side, data: bytes) -> None:
        recording = self._recording
        if recording is None:
            return
        try:
            if self._recorder is None:
                self._recorder = self._begun(recording)
            self._recorder.feed(side, data, recording.clock())
        except Exception:
            log.failure("a recording failed; the connection continues")
            self.leave()
            return
        held = self._recorder.held
        recording.held += held - self._held
        self._held = held
        self._share.holds(held)
        if self._behind:
            self._end(BEHIND)
        elif self._recorder.over:
            self._end(self._recorder.how)
        elif held > SPARED_BYTES and recording.held > MAX_HELD_BYTES:
            self._end(TOO_MUCH)

    def _begun(self, recording: LiveRecording) -> Recorder:
        started = datetime.now(UTC).isoformat()
        return Recorder(self._record.client, self._record.target or "", started, recording.what, self._write)

    def _write(self, line: str) -> None:
        if self._recording is not None and not self._behind:
            number = self._number or self._recording.number()
            if self._recording.send(f'{{"connection": {number}, "line": {line}}}', False):
                self._number = number
            else:
                self._behind = True

    def _end(self, how: str) -> None:
        recording, recorder = self._recording, self._recorder
        if recording is not None and recorder is not None:
            if self._number:
                ended = {"connection": self._number, "ended": how, "topics": recorder.topics}
                recording.send(json.dumps(ended), True)
            elif self._behind:
                recording.skip()
        self.leave()
