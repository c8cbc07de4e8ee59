"""What becomes of connections that a backend gets: targets, or a refusal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.migrate.haproxy.acls import Scene
from sniproxy.migrate.haproxy.sections import Line, Section
from sniproxy.migrate.haproxy.servers import Server, read_servers
from sniproxy.migrate.model import Notes

_IN_TURN = ("roundrobin", "static-rr")
_LIMITED = ("tcp-request", "content", "reject", "if", "{", "be_conn", "gt")
MAX_CONNECTIONS = 100_000_000


@attrs.frozen
class Destination:
    """The keys of a route, but for its names and clients. No targets: connections are refused."""

    targets: tuple[str, ...] = ()
    balance: str | None = None
    max_connections: int | None = None
    send_proxy: str | None = None
    proxy_tlvs: tuple[str, ...] | None = None
    target_source: str | None = None


REFUSED = Destination()


def servers_of(section: Section, scene: Scene) -> list[Server]:
    """The servers of a backend that are not disabled."""
    return read_servers(section.lines, scene.port, scene.report, scene.own_port)


def destination(section: Section, servers: Sequence[Server], scene: Scene) -> Destination:
    """Where a backend sends connections.

    @param servers: those of the backend, or the one that C{use-server} chooses.
    """
    report = scene.report
    for line in section.find("option", "transparent"):
        report.left_out(line.place, "connections to their original destination have no counterpart", decides=True)
    alone = len(servers) == 1
    used = [server for server in servers if server.weight or alone]
    for server in servers:
        if server not in used:
            report.different(server.place, "no target: HAProxy sends no connection to weight 0")
    if not used:
        return REFUSED
    for server in used:
        _check_tls(server, scene)
    active = [server for server in used if not server.has("backup")]
    spares = [server for server in used if server.has("backup")]
    if not active:
        # HAProxy uses the first spare alone, or all of them.
        active, spares = (spares, []) if section.has("option", "allbackups") else (spares[:1], spares[1:])
    weighted = len(active) > 1
    targets = [_text(one.target, one.weight if weighted else 1) for one in active]
    targets += [f"{one.target} weight=0" for one in spares]
    first = used[0]
    for one in used[1:]:
        if (one.send_proxy, one.tlvs, one.from_client) != (first.send_proxy, first.tlvs, first.from_client):
            report.left_out(one.place, "send-proxy and source are those of the first server: a route has one setting")
    from_client = first.from_client or _source_is_client(section, report)
    return Destination(
        tuple(targets),
        _balance(section, report) if weighted else None,
        _limit(section, used, report),
        first.send_proxy,
        first.tlvs or None,
        "client" if from_client else None,
    )


def _text(target: str, weight: int) -> str:
    return target if weight == 1 else f"{target} weight={weight}"


def _check_tls(server: Server, scene: Scene) -> None:
    report = scene.report
    if scene.terminates and not server.has("ssl"):
        report.left_out(server.place, "behind certificates this proxy always speaks TLS to targets", decides=True)
    elif scene.terminates and server.options.get("verify") != "required":
        report.different(server.place, "the target's certificate is always verified, for the client's server name")
    elif not scene.terminates and server.has("ssl"):
        cure = "clients' TLS passes through as it is, without a second TLS around it"
        report.left_out(server.place, f"ssl: {cure}", decides=True)


def _source_is_client(section: Section, report: Notes) -> bool:
    line = section.last("source")
    if line is None:
        return False
    if "usesrc" in line.words and line.words[-1] in ("clientip", "client"):
        return True
    report.left_out(line.place, "the system chooses the address that targets are dialled from")
    return False


def _balance(section: Section, report: Notes) -> str | None:
    line = section.last("balance")
    algorithm = line.words[1] if line is not None and len(line.words) > 1 else "roundrobin"
    if algorithm == "leastconn":
        return "least_connections"
    if line is not None and algorithm not in _IN_TURN:
        report.different(line.place, f"{algorithm}: targets are used in turn")
    return None


def is_limit(line: Line) -> bool:
    """Whether a line bounds the connections of a backend, as our own exports do."""
    if line.words[:-2] != _LIMITED or line.words[-1] != "}":
        return False
    text = line.words[-2]
    return text.isascii() and text.isdigit() and 0 < int(text[:10]) <= MAX_CONNECTIONS


def _limit(section: Section, servers: Sequence[Server], report: Notes) -> int | None:
    """The limit of the backend, or the sum of those of its servers. None: a server has none."""
    for line in section.find(*_LIMITED):
        if is_limit(line):
            return int(line.words[-2])
    limits = [server.options.get("maxconn", "") for server in servers]
    numbers = [int(text) for text in limits if text.isascii() and text.isdigit() and len(text) < 10]
    total = sum(numbers)
    if len(numbers) < len(limits) or not 1 <= total <= MAX_CONNECTIONS:
        return None
    text = f"maxconn: max_connections = {total}, for each route; HAProxy lets further connections wait"
    report.different(servers[0].place, f"{text}, here they are closed")
    return total
