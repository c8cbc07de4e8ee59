"""The faults of one tunnel: decides what happens to its commands and bytes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sniproxy.faults import answers
from sniproxy.faults.gate import DROP, PASS, REPLACE, Gate, Mark, Verdict
from sniproxy.faults.reader import Opening
from sniproxy.faults.rules import FaultRule
from sniproxy.faults.topics import Concerned, TopicTracker
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, fields_of, number_name, read, type_of

T = pb.BaseCommand.Type
FIRST_HIDDEN = 2**63
"""Request ids from here on are the proxy's own. Clients count from 0."""

MAX_HIDDEN = 1000
"""Own requests that wait for their answers; of further ones, the client gets the answers."""

UNREAD = frozenset((T.SEND, T.SEND_RECEIPT, T.MESSAGE, T.ACK, T.FLOW, T.PING, T.PONG))
"""Frequent commands that open nothing: they are read only for a fault."""


class Rules(Protocol):
    """The faults of the proxy; see L{sniproxy.faults.active.ActiveFaults}."""

    @property
    def rules(self) -> Sequence[FaultRule]: ...


class TunnelFaults:
    """The two directions of one tunnel.

    @param listener: its name. @param server_name: of the client's hello. None: none.
    @param reads_pulsar: False: TLS passes through, and only bytes and time count.
    @param applied: called with each fault that is applied, and what it is applied to.
    @ivar up: the client's direction. @ivar down: the target's.
    @ivar timed: what happens after a number of seconds, in a direction.
    """

    def __init__(
        self,
        active: Rules,
        listener: str,
        server_name: str | None,
        reads_pulsar: bool,
        applied: Callable[[FaultRule, str], object],
    ) -> None:
        self._active = active
        self._listener = listener
        self._server_name = server_name
        self._applied = applied
        self._topics = TopicTracker()
        self._hidden: set[int] = set()
        self._next_hidden = FIRST_HIDDEN
        self.timed: list[tuple[float, Gate, Callable[[], Verdict | None]]] = []
        marks: dict[bool, list[Mark]] = {True: [], False: []}
        timed = []
        for rule in active.rules:
            fault = rule.fault
            if fault.command is not None or not rule.is_for_connection(listener, server_name):
                continue
            if not rule.count():
                continue
            by_client = fault.sender == "client"
            if fault.after_seconds is not None:
                timed.append((fault.after_seconds, by_client, self._decision(rule, f"{fault.after_seconds:g} s")))
            else:
                at = fault.after_bytes or 0
                marks[by_client].append(Mark(at, self._decision(rule, f"byte {at}")))
        judge = self._judge if reads_pulsar else None
        self.up, self.down = Gate(True, judge, marks[True]), Gate(False, judge, marks[False])
        self.timed = [(after, self.up if by_client else self.down, decide) for after, by_client, decide in timed]

    def _decision(self, rule: FaultRule, what: str) -> Callable[[], Verdict | None]:
        def decide() -> Verdict | None:
            if rule.used_up or rule not in self._active.rules:  # by other connections; removed meanwhile
                return None
            self._applied(rule, what)
            return Verdict(rule.fault.action, rule.fault.seconds, rule.fault.rate)

        return decide

    def _judge(self, by_client: bool, opening: Opening) -> Verdict | None:
        """See L{sniproxy.faults.gate.Judge}. Each fault counts the command; the first that wants it is applied."""
        try:
            number = type_of(opening.command)
            wanted = [
                rule
                for rule in self._active.rules
                if rule.is_for_command(number, by_client) and rule.is_for_connection(self._listener, self._server_name)
            ]
            if not wanted and number in UNREAD:
                return None
            command = fields_of(read(opening.command))
        except CommandError:
            return None
        concerned = self._topics.take(by_client, number, command)
        if self._hidden and number in (T.SUCCESS, T.ERROR) and command.request_id in self._hidden:
            self._hidden.discard(command.request_id)
            return Verdict(DROP)
        verdict = None
        for rule in wanted:
            if rule.is_for_topic(concerned.topic) and rule.count() and verdict is None:
                verdict = self._verdict(rule, number, command, concerned, by_client)
                if verdict is not None:
                    topic = "" if concerned.topic is None else f" of {concerned.topic}"
                    self._applied(rule, f"{number_name(number)}{topic}")
        return verdict

    def _verdict(
        self, rule: FaultRule, number: int, command: Any, concerned: Concerned, by_client: bool
    ) -> Verdict | None:
        fault = rule.fault
        match fault.action:
            case "redirect":
                if number == T.LOOKUP_RESPONSE and command.response == command.Failed:
                    return None  # an error stays an error
                return self._answer(
                    answers.redirect(command.request_id, fault.url or "", connect=fault.connect), by_client
                )
            case "error":
                return self._answer(answers.error(number, command, fault.error, fault.message), by_client)
            case "close_producer" | "close_consumer":
                producer = fault.action == "close_producer"
                frame = answers.close(producer, concerned, fault.url)
                if frame is not None and not producer and concerned.consumer_id is not None:
                    self._close_at_broker(concerned.consumer_id)
                return self._behind(frame, by_client)
            case "migrate":
                return self._behind(answers.migrate(concerned, fault.url or ""), by_client)
        return Verdict(fault.action, fault.seconds, fault.rate)

    def _answer(self, frame: bytes, by_client: bool) -> Verdict:
        """Answer a request, which the broker does not get; or replace the broker's answer."""
        if not by_client:
            return Verdict(REPLACE, data=frame)
        self.down.insert(frame)
        return Verdict(DROP)

    def _behind(self, frame: bytes | None, by_client: bool) -> Verdict | None:
        """Send the client a frame, behind the broker's command. None: there is nothing to send."""
        if frame is None:
            return None
        if not by_client:
            return Verdict(PASS, data=frame)
        self.down.insert(frame)
        return Verdict(PASS)

    def _close_at_broker(self, consumer_id: int) -> None:
        """Close a consumer at its broker, too, as a broker does that closes it itself.

        A producer stays open there: the broker would close the connection for messages that are on the way.
        """
        if len(self._hidden) < MAX_HIDDEN:
            number, self._next_hidden = self._next_hidden, self._next_hidden + 1
            self._hidden.add(number)
            self.up.insert(answers.close_at_broker(consumer_id, number))
