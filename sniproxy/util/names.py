"""Server names: how they are written, compared, and told from IP literals. Pure.

A *server name* here is always normalised: lower case, without the one trailing dot that DNS allows; an IP literal is in
its shortest form. Two names are the same when their normalised texts are equal.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

MAX_NAME_CHARS = 253
"""Characters in a server name, the trailing dot not counted (RFC 1035, section 2.3.4: 255 octets on the wire)."""

NORMAL = r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}"
"""A name as it is kept, as a regular expression that does not ask for its length. An IPv4 address fits, too."""

_NAME = re.compile(NORMAL)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_ALLOWED = re.compile(r"[A-Za-z0-9_.-]")


class BadName(ValueError):
    """A text that is no server name; the message says which rule it breaks."""


def server_name(text: str) -> str:
    """The normalised form of a server name or an IP literal.

    1 to 253 characters of letters, digits, ``-``, ``_`` and dots, in labels of 1 to 63 (RFC 1035, section 2.3; the
    underscore is not in the RFC but is in use); or an IPv4 or IPv6 address without brackets.

    @raise BadName: the text is neither.
    """
    if len(text) <= MAX_NAME_CHARS and _NAME.fullmatch(text):
        return text  # as most are written; there may be very many
    # Some characters outside ASCII have a lower case inside it (the Kelvin sign): they stay what they are, and bad.
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
    """The normalised form of what a route's ``server_name`` may be: a server name, an IP literal, or ``*.`` and a name.

    @raise BadName: it is none of these; the star stands only for the whole leftmost label or labels.
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
    """The shortest form of an IPv4 or IPv6 address, or None when the text is not one. A zone (``%eth0``) is not one."""
    if _IPV4.fullmatch(text):
        return text  # there may be very many
    # Most names fail here, and do not crowd the addresses out: an address ends in a digit or has a colon.
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


def client_of(peer: str) -> str:
    """Which client a peer's address and port belong to: an IPv4 address, or the /64 network of an IPv6 address.

    One host has a whole /64, so that its addresses are no different clients (RFC 4291, section 2.5.4).
    """
    try:
        return client_at(plain_address(peer.rpartition(":")[0]))
    except ValueError:
        return peer


def plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A host's IP address, perhaps in brackets; an IPv4 address where it is mapped into IPv6 (RFC 4291, 2.5.5.2).

    @raise ValueError: it is no IP address.
    """
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def client_at(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Which client an address belongs to: see L{client_of}."""
    return str(address if address.version == 4 else ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def sent_name(data: bytes) -> str:
    """A server name as a client sends it: ASCII (RFC 6066, section 3), or by mistake UTF-8, or any bytes (latin-1)."""
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
    """What to write for an internationalised name (RFC 5890, section 2.3.2.1), or nothing."""
    try:
        written = "" if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return ""
    return f"; write it as {written}" if _NAME.fullmatch(written) else ""
