"""broker-3.pulsar.example.com -> gateway.internal:30003, as with a NodePort, a forwarded port or a tunnel for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import BadOption, IServerNameResolver, Kind, Option, Refused, Request, Resolution, Target

FOR_EVER = float("inf")
"""Seconds: what this resolver says changes with the configuration alone, which makes a new one."""

OPTIONS = (
    Option("host", Kind.TEXT, "the host that all brokers are reached by, as in gateway.internal"),
    Option("base_port", Kind.INTEGER, "the port of the broker with number 0; broker 1 has the next one"),
    Option("count", Kind.INTEGER, "how many brokers there are: 0 to count - 1"),
    Option("prefix", Kind.TEXT, "what stands before the number in the first label of a name", "broker-"),
)


@implementer(IServerNameResolver)
class NumberedResolver:
    """@param targets: by the first label of the names that lead there."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets

    def resolve(self, request: Request) -> Resolution:
        """@raise Refused: the name is no broker's."""
        label = (request.server_name or "").partition(".")[0]
        target = self._targets.get(label)
        if target is None:
            known = list(self._targets)
            raise Refused(f"{label!r} is no broker; there are {known[0]} to {known[-1]}", FOR_EVER)
        return Resolution([target])


def make(options: Mapping[str, Any], reactor: object) -> NumberedResolver:
    """What C{[resolver.NAME]} says is checked against L{OPTIONS} before; here, what only we can know.

    @raise BadOption: an option does not fit.
    """
    host, base, count = options["host"], options["base_port"], options["count"]
    if count < 1:
        raise BadOption("count", count, "it is a number of brokers, 1 or more")
    if not 1 <= base <= 65536 - count:
        raise BadOption("base_port", base, f"from it on, {count} ports must be between 1 and 65535")
    try:
        targets = [Target(host, base + number) for number in range(count)]
    except ValueError as error:
        raise BadOption("host", host, f"write a host name or an address, without a port: {error}") from error
    return NumberedResolver({f"{options['prefix']}{number}": target for number, target in enumerate(targets)})
