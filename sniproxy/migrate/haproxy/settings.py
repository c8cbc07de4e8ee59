"""Timeouts, health checks and limits of haproxy.cfg. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from sniproxy.config.schema import HealthTable, LimitsTable, Timeouts
from sniproxy.migrate.haproxy.numbers import seconds
from sniproxy.migrate.haproxy.sections import Line, Section
from sniproxy.migrate.haproxy.servers import Server
from sniproxy.migrate.model import Notes

MAX_S = 1e7
_IDLE = ("client", "server")
_HALF_CLOSED = ("client-fin", "server-fin")
_DEFAULT_INTERVAL, _DEFAULT_RISE, _DEFAULT_FALL = "2s", "2", "3"


def read_timeouts(sections: Sequence[Section], report: Notes) -> Timeouts:
    """The timeouts of the proxies that are used: of different values, the first."""
    found = Timeouts()
    connect = _first(sections, ("connect",), report)
    if connect:
        found = replace(found, connect=connect)
    hello = _values(sections, ("tcp-request", "inspect-delay"), report)
    if hello:
        found = replace(found, hello=hello[0])
    tunnel = _first(sections, ("tunnel",), report)
    both = [value for key in _IDLE if (value := _first(sections, (key,), report))]
    # In HAProxy `tunnel` replaces the other two. Without any of them there is no limit.
    found = replace(found, idle=tunnel or min(both, default=0.0))
    ends = [value for key in _HALF_CLOSED if (value := _first(sections, (key,), report))]
    if ends:
        found = replace(found, half_closed=min(ends))
    stop = _values(sections, ("hard-stop-after",), report)
    return replace(found, drain=stop[0]) if stop else found


def _first(sections: Sequence[Section], keys: Iterable[str], report: Notes) -> float | None:
    for key in keys:
        found = _values(sections, ("timeout", key), report)
        if found:
            return found[0]
    return None


def _values(sections: Sequence[Section], words: tuple[str, ...], report: Notes) -> list[float]:
    """The times of a setting in all sections, in order; a note for each that is not the first."""
    lines = [line for section in sections if (line := section.last(*words)) is not None]
    found: list[float] = []
    for line in dict.fromkeys(lines):
        value = _time(line, len(words), report)
        if value is None:
            continue
        if found and value != found[0]:
            report.different(line.place, f"{' '.join(line.words)}: one value for all proxies here, {found[0]:g} s")
        found.append(value)
    return found


def _time(line: Line, at: int, report: Notes) -> float | None:
    value = seconds(line.words[at]) if len(line.words) > at else None
    if value is None or value > MAX_S:
        report.left_out(line.place, f"{' '.join(line.words)}: not a time that can be taken")
        return None
    return value or None


def read_health(sections: Iterable[Section], servers: Sequence[Server], report: Notes) -> HealthTable | None:
    """The health checks. None: no server is checked."""
    checked = [server for server in servers if server.has("check")]
    if not checked:
        return None
    tls = any(server.has("check-ssl") for server in checked)
    for section in sections:
        tls = tls or section.has("option", "ssl-hello-chk")
        for option in ("httpchk", "tcp-check", "mysql-check", "redis-check", "pgsql-check", "ldap-check", "smtpchk"):
            line = section.last("option", option)
            if line is not None and section.has("option", option):
                report.different(line.place, f"option {option}: the check is a connection, by TCP or TLS")
    others = [server for server in servers if not server.has("check")]
    if others:
        report.different(others[0].place, f"health checks are for all targets; servers without check: {len(others)}")
    first = checked[0].options
    found = HealthTable(
        check="tls" if tls else "tcp",
        interval=seconds(first.get("inter", _DEFAULT_INTERVAL)) or 2.0,
        rise=_count(first.get("rise", _DEFAULT_RISE)),
        fall=_count(first.get("fall", _DEFAULT_FALL)),
    )
    for server in checked[1:]:
        keys = [key for key in ("inter", "rise", "fall") if server.options.get(key) != first.get(key)]
        if keys:
            report.different(server.place, f"{', '.join(keys)}: those of {checked[0].name} are for all targets")
    return found


def _count(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 4 else 2


def read_limits(sections: Iterable[Section], report: Notes) -> LimitsTable | None:
    """The limit of connections: the global one, or that of the only frontend. None: there is none."""
    found: list[tuple[Section, int]] = []
    for section in sections:
        line = section.last("maxconn")
        if line is not None and len(line.words) > 1 and section.kind in ("global", "frontend", "listen"):
            text = line.words[1]
            if text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 100_000_000:
                found.append((section, int(text)))
            else:
                report.left_out(line.place, f"maxconn {text}: not a number that can be taken")
    if not found:
        return None
    most = max((value for section, value in found if section.kind == "global"), default=0)
    most = most or sum(value for _, value in found)
    for section, value in found:
        if section.kind != "global" and value < most:
            report.different(section.place, f"maxconn {value}: the limit is one for all listeners, {most}")
    return LimitsTable(max_connections=most)
