"""Reads C{bind} lines as listeners. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

import attrs
from msgspec.structs import replace

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.haproxy.sections import Line, Section
from sniproxy.migrate.haproxy.words import word_set
from sniproxy.migrate.model import Notes, Place

MAX_PORTS = 256
"""Of one C{bind}. More are reported."""

EVERYBODY = ["0.0.0.0/0", "::/0"]
_ALONE = word_set(
    "accept-proxy accept-netscaler-cip defer-accept ssl tfo transparent v4v6 v6only strict-sni generate- "
    "certificates prefer-client-ciphers no-alpn no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 no-tls-tickets "
    "force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 allow-0rtt no-ca-names expose-fd"
)
_UNCHANGED = word_set(
    "name id nice process thread shards ciphers ciphersuites ssl-min-ver ssl-max-ver curves ecdhe alpn npn v4v6 "
    "v6only mode user uid group gid level maxconn mss tcp-ut tls-ticket-keys prefer-client-ciphers ssl crt "
    "accept-proxy defer-accept tfo strict-sni no-alpn no-tls-tickets expose-fd severity-output ca-file verify "
    "generate-certificates allow-0rtt no-ca-names"
)

_BACKLOG = re.compile(r"[1-9][0-9]{0,4}")


@attrs.frozen
class Bound:
    """A listener of a frontend. @ivar port: None: unknown, or not TCP. @ivar terminates: it ends TLS."""

    place: Place
    table: ListenerTable
    port: int | None = None
    terminates: bool = False


def read_binds(section: Section, believed: Sequence[str], report: Notes) -> list[Bound]:
    """The listeners of a section. @param believed: networks with C{expect-proxy}, whose headers are read."""
    found: list[Bound] = []
    for line in section.find("bind"):
        options = _options(line.words[2:])
        for option, value in options.items():
            _report_option(option, value, line.place, report)
        addresses = line.words[1] if len(line.words) > 1 else ""
        for address in addresses.split(","):
            for place, endpoint, port in _endpoints(address, options, line, report):
                table = ListenerTable(endpoint, options.get("name"))
                found.append(Bound(place, _completed(table, options, believed, place, report), port, "ssl" in options))
    return found


def _options(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        option = words[at]
        at += 1
        found[option] = ""
        if option not in _ALONE:
            found[option] = words[at] if at < len(words) else ""
            at += 1
    return found


def _endpoints(
    address: str, options: dict[str, str], line: Line, report: Notes
) -> Iterator[tuple[Place, str, int | None]]:
    """The Twisted endpoint and the port of each port of an address."""
    place = line.place
    kind, at, rest = address.partition("@")
    if not at:
        kind, rest = "", address
    if kind == "unix" or rest.startswith("/"):
        mode = f":mode={options['mode']}" if "mode" in options else ""
        yield place, f"unix:{rest}{mode}", None
        return
    if kind not in ("", "ipv4", "ipv6", "tcp", "tcp4", "tcp6"):
        text = f"{address}: sockets of this kind have no counterpart; write an endpoint, as tcp:4443"
        report.left_out(place, text, decides=True)
        return
    host, _, ports = rest.rpartition(":")
    host = host.strip("[]")
    first, _, last = ports.partition("-")
    if not all(text.isascii() and text.isdigit() and len(text) <= 5 for text in (first, last or first)):
        report.left_out(place, f"{address}: {ports or 'no port'} is not understood; write tcp:PORT", decides=True)
        return
    numbers = range(int(first), int(last or first) + 1)
    if len(numbers) > MAX_PORTS or not numbers or numbers[-1] > 65535 or not numbers[0]:
        text = f"{address}: a port is from 1 to 65535, and at most {MAX_PORTS} ports are read of one bind"
        report.left_out(place, text, decides=True)
        return
    for number in numbers:
        yield place, _endpoint(host, number, kind, options), number


def _endpoint(host: str, port: int, kind: str, options: dict[str, str]) -> str:
    backlog = options.get("backlog", "")
    end = f":backlog={backlog}" if _BACKLOG.fullmatch(backlog) else ""
    if host in ("", "*", "0.0.0.0", "::"):
        six = host == "::" or kind in ("ipv6", "tcp6")
        return f"tcp{6 if six else ''}:{port}{end}"
    escaped = host.replace("\\", "").replace(":", "\\:")
    return f"tcp{6 if ':' in host else ''}:{port}:interface={escaped}{end}"


def _completed(
    table: ListenerTable, options: dict[str, str], believed: Sequence[str], place: Place, report: Notes
) -> ListenerTable:
    if "accept-proxy" in options:
        table = replace(table, proxy_protocol="required")
    elif believed:
        table = replace(table, proxy_protocol="optional", proxy_protocol_from=list(believed))
    if "defer-accept" in options:
        table = replace(table, deferred_accept=True)
    if "ssl" in options:
        certificate = options.get("crt", "")
        if not certificate:
            report.left_out(place, "ssl: write the certificates that clients are shown, as certificates", decides=True)
        table = replace(table, certificates=certificate or "certificates.pem")
    return table


def is_local(endpoint: str) -> bool:
    """Whether only this host can reach an endpoint."""
    host = endpoint.partition(":interface=")[2].replace("\\", "").partition(":backlog=")[0]
    try:
        return endpoint.startswith("unix:") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _report_option(option: str, value: str, place: Place, report: Notes) -> None:
    if option == "verify" and value in ("required", "optional"):
        report.left_out(place, f"verify {value}: clients are asked for no certificate", decides=True)
    elif option == "v6only":
        report.different(place, "v6only: the port takes IPv4 connections, too, if the system allows it")
    elif option == "crt-list":
        report.left_out(place, f"crt-list {value}: name a folder with the PEM files as certificates")
    elif option not in _UNCHANGED and option != "backlog":
        report.left_out(place, f"{option} {value}".strip() + ": has no counterpart")
