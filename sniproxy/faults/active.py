"""The faults of a running proxy: those of its configuration, and those that commands have added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from sniproxy.events import Connection

# Imported where they are needed: nearly all proxies have no fault.
if TYPE_CHECKING:
    from sniproxy.config.fault import Fault
    from sniproxy.faults.rules import FaultRule

log = Logger()

MAX_NAMED = 20
"""Faults that the record of one connection names."""


class UnknownFault(Exception):
    """No fault has this name; the message lists those that exist."""


class ActiveFaults:
    """The faults of one process, in the order in which they are tried: those of the configuration first.

    @ivar rules: all faults. @ivar counts: how often faults were applied since the start, by action.
    """

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self.counts: Counter[str] = Counter()

    def change(self, faults: Sequence[Fault]) -> None:
        """Use another configuration. Faults that it does not change keep their counts; added ones stay."""
        if not faults and not self.rules:
            return
        from sniproxy.faults.rules import FaultRule

        before = {rule.fault.name: rule for rule in self.rules if not rule.added}
        names = {fault.name for fault in faults}
        kept = [rule for rule in self.rules if rule.added and rule.fault.name not in names]
        made = []
        for fault in faults:
            old = before.get(fault.name)
            made.append(old if old is not None and old.fault == fault else FaultRule(fault))
        # In place: open tunnels follow.
        self.rules[:] = [*made, *kept]

    def add(self, values: Mapping[str, str], listeners: Mapping[str, bool]) -> FaultRule:
        """Add a fault. @param values: keys and values of a C{[[fault]]} table.

        @param listeners: see L{sniproxy.config.faults.pulsar_listeners}.
        @raise BadValue: a value is wrong.
        """
        from sniproxy.config.faults import fault_entry, make_fault
        from sniproxy.faults.rules import FaultRule

        rule = FaultRule(make_fault(fault_entry(values), listeners, self._names()), added=True)
        self.rules.append(rule)
        log.warn("fault {name} added: {action}: {trigger}", **_words(rule.fault))
        return rule

    def states(self) -> Iterator[tuple[dict[str, str], FaultRule]]:
        """The faults for another process: values that L{take_over} reads, and what has counted."""
        if not self.rules:
            return
        from sniproxy.config.fault import fault_values

        for rule in self.rules:
            yield {key: str(value) for key, value in fault_values(rule.fault).items()}, rule

    def take_over(
        self, values: Mapping[str, str], listeners: Mapping[str, bool], matched: int, applied: int, added: bool
    ) -> None:
        """Continue with a fault of another process. One of the configuration goes on counting if it is the same here.

        @param values: see L{add}. @param listeners: see L{add}. The others are those of its C{FaultRule}.
        @raise BadValue: a value is wrong here.
        """
        from sniproxy.config.faults import fault_entry, make_fault
        from sniproxy.faults.rules import FaultRule

        fault = make_fault(fault_entry(values), listeners, ())
        rule = next((one for one in self.rules if one.fault.name == fault.name), None)
        if rule is None and added:
            rule = FaultRule(fault, added=True)
            self.rules.append(rule)
            log.warn("fault {name} taken over: {action}: {trigger}", **_words(fault))
        if rule is not None and rule.fault == fault:
            rule.matched, rule.applied = matched, applied

    def remove(self, name: str) -> FaultRule:
        """Remove a fault, also of the configuration. @raise UnknownFault: there is none."""
        for rule in self.rules:
            if rule.fault.name == name:
                self.rules.remove(rule)
                log.info("fault {name} removed", name=name)
                return rule
        raise UnknownFault(f"no fault has this name; faults: {', '.join(self._names()) or 'none'}")

    def concern(self, listener: str, server_name: str | None, *, reads_pulsar: bool) -> bool:
        """Whether a connection can have a fault. @param reads_pulsar: the proxy sees the bytes of Pulsar in it."""
        return any(
            rule.is_for(listener)
            if reads_pulsar and rule.fault.command is not None
            else rule.fault.command is None and rule.is_for_connection(listener, server_name)
            for rule in self.rules
        )

    def applied(self, rule: FaultRule, record: Connection, what: str) -> None:
        """A fault was applied. @param record: of the connection. @param what: what it was applied to."""
        fault = rule.fault
        rule.applied += 1
        self.counts[fault.action] += 1
        if len(record.faults) < MAX_NAMED:
            record.faults = (*record.faults, fault.name)
        log.info(
            "fault {name}: {action} at {what}, connection {id} of {client}",
            name=fault.name,
            action=fault.action,
            what=what,
            id=record.id,
            client=record.client,
        )

    def document(self) -> Iterator[dict[str, Any]]:
        """The faults for JSON."""
        if not self.rules:
            return
        from sniproxy.config.fault import fault_values

        for rule in self.rules:
            counts = {"matched": rule.matched, "applied": rule.applied, "added": rule.added}
            yield {**fault_values(rule.fault), "trigger": rule.fault.trigger, **counts}

    def _names(self) -> list[str]:
        return [rule.fault.name for rule in self.rules]


def _words(fault: Fault) -> dict[str, str]:
    return {"name": fault.name, "action": fault.action, "trigger": fault.trigger}
