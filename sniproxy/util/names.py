"""Server names: syntax, normal form, and how they differ from IP literals. Pure.

A *server name* in this program is normalised: lower case, without the trailing dot that DNS allows; an IP literal is in
its shortest form. Two names are equal if their normalised texts are equal.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

MAX_NAME_CHARS = 253
"""Maximum characters of a server name, without the trailing dot (RFC 1035, section 2.3.4: 255 octets on the wire)."""

NORMAL = r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}"
"""Regular expression for a normalised name, without the limit on its length. Also matches IPv4 addresses."""

_NAME = re.compile(NORMAL)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_ALLOWED = re.compile(r"[A-Za-z0-9_.-]")
_ZONE = r"(?:%[A-Za-z0-9_.-]+)?"
_SHOWN = re.compile(rf"(?:[A-Za-z0-9_.-]*/)?(?:\[([0-9A-Fa-f:.]+{_ZONE})\]|([0-9A-Fa-f:.]+{_ZONE})):([0-9]{{1,5}})")

HOST_PORT_SYNTAX = "write an IP address and a port, as in 10.0.0.5:43210 or [fd00::5]:43210"
"""The cure for a text that L{plain_host_port} does not read."""


class BadName(ValueError):
    """A text is not a server name. The message names the broken rule."""


def server_name(text: str) -> str:
    """Normalise a server name or an IP literal.

    A name has 1 to 253 characters: letters, digits, ``-``, ``_`` and dots, in labels of 1 to 63 (RFC 1035, section 2.3;
    the underscore is not in the RFC but is in use). An IP literal is an IPv4 or IPv6 address without brackets.

    @raise BadName: the text is neither.
    """
    if len(text) <= MAX_NAME_CHARS and _NAME.fullmatch(text):
        return text  # fast path for large configurations
    # Lower case can turn a character outside ASCII into ASCII (the Kelvin sign). Such names stay invalid.
    name = text.lower() if text.isascii() else text
    if name.endswith("."):
        name = name[:-1]
    if len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name):
        return name
    address = ip_literal(name)
    if address is not None:
        return address
    raise BadName(_fault(name))


def pattern(text: str) -> str:
    """Normalise a route's ``server_name``: a server name, an IP literal, or ``*.`` and a name.

    @raise BadName: the text is none of these. A wildcard is only allowed as the whole leftmost label.
    """
    if "*" not in text:
        return server_name(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    if text == "*":
        raise BadName("'*' alone would match every name; use a [default] table instead")
    if not text.startswith("*.") or "*" in text[2:]:
        raise BadName("'*' is allowed only as the whole leftmost label, as in '*.example.com'")
    rest = server_name(text[2:])
    if ip_literal(rest) is not None:
        raise BadName("an IP address has no names below it")
    return f"*.{rest}"


def ip_literal(text: str) -> str | None:
    """The shortest form of an IPv4 or IPv6 address. None: the text is not an address. A zone (``%eth0``) is not
    accepted."""
    if _IPV4.fullmatch(text):
        return text  # fast path for large configurations
    # An address ends in a digit or has a colon. This keeps names out of the cache.
    return _ip_literal(text) if ":" in text or text[-1:].isdigit() else None


@lru_cache(maxsize=1024)
def _ip_literal(text: str) -> str | None:
    if "%" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def host_port(host: str, port: int) -> str:
    """``192.0.2.7:6651``, ``[2001:db8::7]:6651``, ``broker-1.example.com:6651``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bracketed(host: str) -> str:
    """The host as in L{host_port}: an IPv6 address gets its brackets."""
    return f"[{host}]" if ":" in host else host


def plain_host_port(text: str, ends_in_port: bool = False) -> str | None:
    """The shortest form of an IP address and a port, which Java and Netty print in several forms.

    They are ``/10.0.0.5:43210``, ``host/10.0.0.5:43210``, ``/[fd00:0:0:0:0:0:0:5]:43210`` and, before Java 14,
    ``/fd00:0:0:0:0:0:0:5:43210``. An IPv4-mapped IPv6 address becomes IPv4, and a zone (``%eth0``) is left out.

    @param ends_in_port: the last group of C{2001:db8::7:5} is a port, as in Pulsar's stats. False: a text that is an
        IPv6 address as a whole has no port.
    @return: None: the text is something else.
    """
    match = _SHOWN.fullmatch(text)
    if match is None:
        return None
    bracketed, bare, port = match.groups()
    if not 0 < int(port) <= 65535:
        return None
    if bare is not None and not ends_in_port and ip_literal(f"{bare}:{port}") is not None:
        return None
    try:
        return host_port(str(plain_address(bracketed or bare)), int(port))
    except ValueError:
        return None


def client_of(peer: str) -> str:
    """The client of a peer's address and port: an IPv4 address, or the /64 network of an IPv6 address.

    A host usually has a whole /64 network (RFC 4291, section 2.5.4), so all its addresses count as one client.
    """
    try:
        return client_at(plain_address(peer.rpartition(":")[0]))
    except ValueError:
        return peer


def plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address of a host, with or without brackets. An IPv4-mapped IPv6 address becomes IPv4 (RFC 4291, 2.5.5.2).

    @raise ValueError: the host is not an IP address.
    """
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def client_at(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The client of an address; see L{client_of}."""
    return str(address if address.version == 4 else ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def sent_name(data: bytes) -> str:
    """Decode a server name as a client sent it: ASCII (RFC 6066, section 3), else UTF-8, else latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _fault(name: str) -> str:
    if not name:
        return "the name is empty"
    if len(name) > MAX_NAME_CHARS:
        return f"the name has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed"
    host, _, port = name.rpartition(":")
    if port.isdigit() and host and ":" not in host:
        return "the character ':' is not allowed in a server name; remove the port"
    for character in name:
        if not _ALLOWED.fullmatch(character):
            return f"the character {character!a} is not allowed in a server name{_in_ascii(name)}"
    if "" in name.split("."):
        return "a label of the name is empty"
    return "a label of the name has more than 63 characters"


def _in_ascii(name: str) -> str:
    """The cure for an internationalised name (RFC 5890, section 2.3.2.1), or an empty text."""
    try:
        written = "" if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return ""
    return f"; write it as {written}" if _NAME.fullmatch(written) else ""
