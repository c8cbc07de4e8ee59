"""Counts what a fault matches, and decides when it applies. Pure."""

from __future__ import annotations

import random

from sniproxy.config.fault import Fault
from sniproxy.pulsar.topicname import is_topic
from sniproxy.routing.patterns import matches


class FaultRule:
    """One fault of a running proxy.

    @ivar matched: commands, or connections, that its conditions fit. @ivar applied: those that it was applied to.
    @ivar added: a command has added it, not the configuration.
    """

    __slots__ = ("_random", "added", "applied", "fault", "matched")

    def __init__(self, fault: Fault, added: bool = False) -> None:
        self.fault = fault
        self.added = added
        self.matched = 0
        self.applied = 0
        self._random = random.Random(fault.seed)

    def is_for(self, listener: str) -> bool:
        """Whether the fault is for this listener."""
        return self.fault.listener in (None, listener)

    def is_for_connection(self, listener: str, server_name: str | None) -> bool:
        """Whether the fault is for this connection. @param server_name: None: the client sent none."""
        wanted = self.fault.server_name
        named = wanted is None or (server_name is not None and matches(wanted, server_name))
        return named and self.is_for(listener)

    def is_for_command(self, number: int, by_client: bool) -> bool:
        """Whether the fault is for this type of command of this sender."""
        fault = self.fault
        return fault.number == number and fault.sender in (None, "client" if by_client else "broker")

    def is_for_topic(self, topic: str | None) -> bool:
        """Whether the fault is for this topic. @param topic: None: unknown."""
        return self.fault.topic is None or is_topic(self.fault.topic, topic)

    @property
    def used_up(self) -> bool:
        """Whether the fault was applied as often as it may be."""
        return bool(self.fault.most) and self.applied >= self.fault.most

    def count(self) -> bool:
        """Count a match. @return: whether the fault wants to be applied to it.

        A connection is counted at its beginning. Where its fault applies later, see L{used_up} then: others that are
        open may have been faster.
        """
        self.matched += 1
        fault = self.fault
        # A number for each match, so that a seed repeats the same choice.
        drawn = fault.probability is None or self._random.random() < fault.probability
        return drawn and self.matched >= (fault.nth or 1) and not self.used_up
