"""``tunnel_route`` to a target. Pure."""

from __future__ import annotations

import re

import attrs

from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import PORT, PROXY_PORT, parse_template
from sniproxy.util.text import counted

LOCAL_PORT = "{inbound_local_port}"
_PROXY_PORT = f"{{{PROXY_PORT}}}"


class BadDestination(ValueError):
    """The text is no destination. The message says why."""


@attrs.frozen
class Destination:
    """@ivar target: with our placeholders. @ivar dynamic: whether the connection gives the port, or a part of it.

    @ivar port: as written; 0: it is dynamic. @ivar formed: whether the server name becomes part of it.
    @ivar header: whether a PROXY protocol header gives the port.
    """

    target: str
    dynamic: bool
    port: int
    formed: bool
    header: bool


def destination(text: str, groups: int) -> Destination:
    """Translate the value of ``tunnel_route``.

    C{$1} to C{$9} are replaced where Traffic Server replaces them: the number ends at the next dot behind it, or if
    there is none, at the next colon, or at the end. A missing port is the port that the client connected to.

    @param groups: the number of stars, or groups, of C{fqdn}.
    @raise BadDestination: Traffic Server cannot connect to it, or it has no counterpart here.
    """
    if "{" in text.replace(LOCAL_PORT, "").replace(_PROXY_PORT, ""):
        raise BadDestination(f"an unknown variable; Traffic Server has {LOCAL_PORT} and {_PROXY_PORT}")
    if LOCAL_PORT in text and _PROXY_PORT in text:
        raise BadDestination("only one of the port variables is allowed")
    filled = _captures(text, groups)
    literal = re.search(r"\$[0-9]*", filled)
    if literal is not None:
        raise BadDestination(
            f"{literal[0]} stays as it is, and Traffic Server finds no such host: fqdn has "
            f"{counted(groups, 'star')}, and the number must end at a dot, a colon or the end"
        )
    filled = filled.replace(LOCAL_PORT, f"{{{PORT}}}")
    host, colon, port = _split(filled)
    if ":" in host and not host.startswith("["):
        raise BadDestination("an IPv6 address must stand in brackets, as in [2001:db8::1]:6651")
    if not colon or port == "" or re.fullmatch("0+", port):
        filled, port = f"{host}:{{{PORT}}}", f"{{{PORT}}}"
    try:
        template = parse_template(filled)
    except BadTarget as error:
        raise BadDestination(str(error)) from error
    dynamic = "{" in port
    return Destination(
        filled, dynamic, 0 if dynamic else int(port), template.name_formed, PROXY_PORT in template.places
    )


def _captures(text: str, groups: int) -> str:
    """Write C{$1} as C{{1}} where Traffic Server replaces it."""
    if not groups:
        return text
    found, at = "", 0
    while at < len(text):
        if text[at] == "$":
            end = text.find(".", at)
            if end < 0:
                end = text.find(":", at)
            number = text[at + 1 : end if end >= 0 else len(text)]
            if number.isascii() and number.isdigit() and 1 <= int(number) <= groups and int(number) <= 9:
                found += f"{{{int(number)}}}"
                at += 1 + len(number)
                continue
        found += text[at]
        at += 1
    return found


def _split(text: str) -> tuple[str, str, str]:
    """Host, colon and port. An IPv6 address has brackets."""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        return host + bracket, *rest.partition(":")[1:]
    return text.rpartition(":") if ":" in text else (text, "", "")
