"""Checks C{[health]} and C{balance}. Pure."""

from __future__ import annotations

from sniproxy.config.schema import HealthTable
from sniproxy.interfaces import BadValue
from sniproxy.routing.health import Health

CHECKS = ("tcp", "tls")
BALANCES = ("round_robin", "least_connections")
MAX_IN_A_ROW = 100


def make_health(table: HealthTable) -> Health:
    """@raise BadValue: a key is wrong."""
    if table.check not in (None, *CHECKS):
        raise BadValue("check", table.check, 'write "tcp" or "tls"; without the key, health checks are off')
    if not 0.1 <= table.interval <= 3600:
        raise BadValue("interval", table.interval, "must be a number of seconds from 0.1 to 3600")
    for key, value in (("rise", table.rise), ("fall", table.fall)):
        if not 1 <= value <= MAX_IN_A_ROW:
            raise BadValue(key, value, f"must be a number from 1 to {MAX_IN_A_ROW}")
    if not 0 <= table.eject <= 1e6:
        raise BadValue("eject", table.eject, "must be a number of seconds; 0 disables ejection")
    return Health(table.check, table.interval, table.rise, table.fall, table.eject)


def is_least_connections(balance: str | None) -> bool:
    """Whether a route's C{balance} is C{least_connections}. @raise BadValue: it is unknown."""
    if balance not in (None, *BALANCES):
        raise BadValue("balance", balance, f"write {' or '.join(BALANCES)}")
    return balance == BALANCES[1]


def describe_health(health: Health) -> str:
    """Describe health checks and ejection in one line."""
    eject = f"eject {health.eject:g} s after {health.fall} failed connects" if health.eject else ""
    if health.check is None:
        return eject or "off"
    check = f"{health.check} every {health.interval:g} s, rise {health.rise}, fall {health.fall}"
    return f"{check}, {eject}" if eject else check
