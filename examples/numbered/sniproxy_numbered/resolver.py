"""broker-3.pulsar.example.com -> gateway.internal:30003, for brokers behind NodePorts or forwarded ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import BadOption, IServerNameResolver, Kind, Option, Refused, Request, Resolution, Target

NO_EXPIRY = float("inf")
"""The ttl of a refusal. Answers change only with the configuration, and a reload makes a new resolver."""

OPTIONS = (
    Option("host", Kind.TEXT, "host of all brokers, as in gateway.internal"),
    Option("base_port", Kind.INTEGER, "port of broker 0; broker 1 has the next one"),
    Option("count", Kind.INTEGER, "number of brokers: 0 to count - 1"),
    Option("prefix", Kind.TEXT, "text before the number in the first label of a name", "broker-"),
)


@implementer(IServerNameResolver)
class NumberedResolver:
    """@param targets: by the first label of a server name."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets

    def resolve(self, request: Request) -> Resolution:
        """@raise Refused: no broker has the name."""
        label = (request.server_name or "").partition(".")[0]
        target = self._targets.get(label)
        if target is None:
            known = list(self._targets)
            raise Refused(f"no broker {label!r}; known: {known[0]} to {known[-1]}", NO_EXPIRY)
        return Resolution([target])


def make(options: Mapping[str, Any], reactor: object) -> NumberedResolver:
    """Make a resolver from C{[resolver.NAME]}. The proxy has checked the table against L{OPTIONS}.

    @raise BadOption: an option is invalid.
    """
    host, base, count = options["host"], options["base_port"], options["count"]
    if count < 1:
        raise BadOption("count", count, "write a number of brokers, 1 or more")
    if not 1 <= base <= 65536 - count:
        raise BadOption("base_port", base, f"the {count} ports from here must be between 1 and 65535")
    try:
        targets = [Target(host, base + number) for number in range(count)]
    except ValueError as error:
        raise BadOption("host", host, f"write a host name or an address, without a port: {error}") from error
    return NumberedResolver({f"{options['prefix']}{number}": target for number, target in enumerate(targets)})
