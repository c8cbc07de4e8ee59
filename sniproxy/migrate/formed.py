"""The policy for targets that clients' names form: others connect to any address, this proxy to allowed ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.config.schema import PolicyTable
from sniproxy.migrate.model import Notes, Place

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""The private networks (RFC 1918, RFC 4193), where brokers usually are."""


def formed_policy(ports: Iterable[int], place: Place, report: Notes) -> PolicyTable:
    """Allow public addresses, as always, and the private networks. Loopback and link-local addresses stay denied.

    @param ports: the ports of the targets. Empty: the ports that are allowed by default.
    @param place: of the first rule whose names form targets, for the report.
    """
    report.different(
        place,
        "names form targets: [policy] has the private networks in allow_cidrs; list only those of the brokers, "
        "and their names in allow_names",
    )
    return PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=sorted(ports) or None)
