"""Reads the servers of a backend. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.migrate.haproxy.sections import Line
from sniproxy.migrate.haproxy.words import word_set
from sniproxy.migrate.model import Notes, Place
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import parse_template

_ALONE = word_set(
    "backup check disabled enabled ssl send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn non-stick "
    "check-ssl check-send-proxy check-via-socks4 agent-check tfo allow-0rtt no-backup no-check no-disabled no-ssl "
    "no-send-proxy no-send-proxy-v2 no-tfo no-check-ssl no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 force- "
    "sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 no-tls-tickets no-ssl-reuse ssl-reuse no- "
    "verifyhost check-reuse-pool stick no-check-send-proxy"
)
"""Options without an argument. All others have one."""

_UNCHANGED = word_set(
    "id cookie resolvers resolve-prefer resolve-opts resolve-net init-addr non-stick stick enabled verify ca-file "
    "crt sni verifyhost alpn npn ciphers ciphersuites ssl-min-ver ssl-max-ver check inter rise fall check-ssl "
    "check-send-proxy weight backup ssl disabled maxconn proxy-v2-options fastinter downinter check-sni check- "
    "alpn tfo no-ssl no-check no-backup no-disabled no-send-proxy no-send-proxy-v2 tcp-ut log-proto slowstart "
    "check-reuse-pool"
)
"""Options that are read elsewhere, or that have no effect on connections here."""

OWN_PORT, HEADER_PORT = "{port}", "{proxy_protocol_port}"
"""The port that a client connected to: the listener's, or that of a PROXY protocol header."""

_HOST = re.compile(r"(?:(?:ipv4|ipv6|tcp|tcp4|tcp6|inet)@)?(.*)", re.DOTALL)
_PORT = re.compile(r"[+-]?\d{1,5}")
_SENDS = {"send-proxy": "v1", "send-proxy-v2": "v2", "send-proxy-v2-ssl": "v2", "send-proxy-v2-ssl-cn": "v2"}
_TLVS = {"authority": "authority", "unique-id": "unique_id"}


@attrs.frozen
class Server:
    """A server. @ivar target: C{host:port}, where the port may be C{\\{port\\}}.

    @ivar options: the last value of each option; empty for those without an argument.
    """

    name: str
    target: str
    place: Place
    options: dict[str, str]
    weight: int = 1
    send_proxy: str | None = None
    tlvs: tuple[str, ...] = ()
    from_client: bool = False

    def has(self, option: str) -> bool:
        return option in self.options


def read_servers(lines: Sequence[Line], port: int | None, report: Notes, own: str = OWN_PORT) -> list[Server]:
    """The servers of a proxy's lines, without disabled ones. @param port: the listener's. None: unknown.

    @param own: the placeholder for the port of servers without one.
    """
    defaults: list[str] = []
    found = []
    for line in lines:
        if line.key == "default-server":
            defaults += line.words[1:]
        elif line.key == "server" and len(line.words) > 2:
            server = _server(line.words[1], line.words[2], [*defaults, *line.words[3:]], line.place, port, report, own)
            found += [server] if server is not None else []
        elif line.key == "server-template" and len(line.words) > 3:
            place = line.place
            server = _server(line.words[1], line.words[3], [*defaults, *line.words[4:]], place, port, report, own)
            if server is not None:
                text = "one target for all servers: all addresses of its name are dialled, the next if one fails"
                report.different(place, f"{text}; the resolver dns spreads connections over them")
                found.append(server)
        elif line.key == "dispatch" and len(line.words) > 1:
            server = _server("dispatch", line.words[1], (), line.place, port, report, own)
            found += [server] if server is not None else []
    return found


def _server(
    name: str, address: str, words: Sequence[str], place: Place, port: int | None, report: Notes, own: str
) -> Server | None:
    place = attrs.evolve(place, key=f"{place.key} {name}")
    options = _options(words)
    if "disabled" in options:
        report.left_out(place, "the server is disabled")
        return None
    if address.startswith("_"):
        text = f"{address}: SRV records are looked up by the resolver dns, with srv = {address.partition(':')[0]!r}"
        report.left_out(place, text.replace("'", '"'), decides=True)
        return None
    target = _target(address, port, own)
    try:
        parse_template(target)
    except BadTarget as error:
        report.left_out(place, f"{address}: {error}", decides=True)
        return None
    for option in options:
        _report_option(option, options[option], place, report)
    sends = [_SENDS[option] for option in options if option in _SENDS]
    tlvs = []
    for text in filter(None, options.get("proxy-v2-options", "").split(",")):
        if text in _TLVS:
            tlvs.append(_TLVS[text])
        else:
            report.left_out(place, f"proxy-v2-options {text}: this field is not sent here")
    send = max(sends, default=None)  # two flags of HAProxy, of which v2 wins
    weight = options.get("weight", "1")
    return Server(
        name,
        target,
        place,
        options,
        int(weight) if re.fullmatch(r"\d{1,3}", weight) else 1,
        send,
        tuple(tlvs) if send == "v2" else (),
        options.get("source", "").partition("usesrc ")[2] in ("clientip", "client"),
    )


def _options(words: Sequence[str]) -> dict[str, str]:
    """The options with their arguments; C{source} has up to three."""
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        option = words[at]
        at += 1
        if option == "source":
            count = 3 if words[at + 1 : at + 2] and words[at + 1] in ("usesrc", "interface") else 1
            found[option] = " ".join(words[at : at + count])
            at += count
        elif option in _ALONE:
            _switch(option, found)
        else:
            found[option] = words[at] if at < len(words) else ""
            at += 1
    return found


def _switch(option: str, found: dict[str, str]) -> None:
    """An option without an argument; C{no-x} and C{enabled} take another back."""
    taken_back = {"enabled": "disabled"}.get(option, option.removeprefix("no-"))
    if taken_back != option:
        found.pop(taken_back, None)
    else:
        found[option] = ""


def _target(address: str, port: int | None, own: str) -> str:
    """Our text of a server's address. Without a port the server has that of the listener."""
    host = _HOST.fullmatch(address)[1]  # type: ignore[index]
    if host.startswith("/") or "@" in host:
        return host  # no target: the caller reports it
    head, colon, tail = host.rpartition(":")
    if (host.startswith("[") and host.endswith("]")) or not colon:
        head, tail = host, ""
    elif tail and not _PORT.fullmatch(tail):
        head, tail = host, ""  # an IPv6 address with letters at its end
    if ":" in head and not head.startswith("["):
        head = f"[{head}]"
    if tail[:1] in ("+", "-"):
        tail = str(port + int(tail)) if port is not None else tail
    return f"{head}:{tail if tail not in ('', '0') else own}"


def _report_option(option: str, value: str, place: Place, report: Notes) -> None:
    if option in ("send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"):
        report.different(place, f'{option}: send_proxy = "v2", without the fields about TLS')
    elif option in ("port", "addr"):
        report.left_out(place, f"{option} {value}: health checks use the target's own address and port")
    elif option in ("observe", "on-error", "error-limit", "on-marked-down", "on-marked-up"):
        report.left_out(place, f"{option} {value}: see eject in [health]")
    elif option == "source":
        if "usesrc client" not in value:
            report.left_out(place, f"source {value}: the system chooses the proxy's address")
    elif option not in _UNCHANGED and option not in _SENDS:
        report.left_out(place, f"{option} {value}".strip() + ": has no counterpart")
