"""The query of a request to the admin endpoint, and the answer to a wrong one."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sniproxy.util.names import HOST_PORT_SYNTAX, plain_host_port
from sniproxy.util.text import printable

# The values that the service reports are imported without a web server.
if TYPE_CHECKING:
    from twisted.web.server import Request

MIN_RATE, MAX_RATE = 0.001, 10_000.0
"""Bounds of the rate of a drain, in tunnels per second."""

MAX_TEXT_CHARS = 300
"""Maximum length of a text in a query."""


class ErrorAnswer(Exception):
    """An answer with a status other than 200."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


def number_of(request: Request, name: bytes) -> int | None:
    """A number in the query; None if absent. @raise ErrorAnswer: 400 if it is not a number of 0 or more."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values:
        return None
    if not values[-1].isdigit() or len(values[-1]) > 9:
        raise ErrorAnswer(400, f"{name.decode()} must be a number")
    return int(values[-1])


def text_of(request: Request, name: bytes) -> str:
    """A text in the query. @raise ErrorAnswer: 400 if it is absent or too long."""
    return texts_of(request, name)[-1]


def texts_of(request: Request, name: bytes) -> list[str]:
    """All texts of this name in the query. @raise ErrorAnswer: 400 if there is none, or one is too long."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values or any(len(value) > MAX_TEXT_CHARS for value in values):
        raise ErrorAnswer(400, f"{printable(name.decode('latin-1'))} is missing or too long")
    return [value.decode("utf-8", "backslashreplace") for value in values]


def addresses_of(request: Request, name: bytes) -> list[str]:
    """IP addresses and ports in the query, each in its shortest form, once.

    @raise ErrorAnswer: 400 if there is none, or a text is not an IP address and a port.
    """
    found: dict[str, None] = {}
    for text in texts_of(request, name):
        address = plain_host_port(text)
        if address is None:
            raise ErrorAnswer(400, f"{name.decode()} {printable(text)}: {HOST_PORT_SYNTAX}")
        found[address] = None
    return list(found)


def values_of(request: Request) -> dict[str, str]:
    """All texts in the query, by name. Of several with one name, the last.

    @raise ErrorAnswer: 400 if one is too long.
    """
    names = list(request.args or {})
    return {name.decode("utf-8", "backslashreplace"): text_of(request, name) for name in names}


def optional_text_of(request: Request, name: bytes, choices: Collection[str] | None = None) -> str | None:
    """A text in the query; None if absent.

    @param choices: the valid texts. None: all. @raise ErrorAnswer: 400 if it is too long, or not valid.
    """
    if not (request.args or {}).get(name):
        return None
    text = text_of(request, name)
    if choices is not None and text not in choices:
        raise ErrorAnswer(400, f"{name.decode()} must be one of {', '.join(choices)}")
    return text


def rate_of(request: Request) -> float:
    """C{rate} in the query, in tunnels per second; default: 10. @raise ErrorAnswer: 400 if it is out of bounds."""
    values: list[bytes] = (request.args or {}).get(b"rate", [b"10"])
    try:
        rate = float(values[-1])
    except ValueError:
        rate = 0.0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ErrorAnswer(400, f"rate must be a number of tunnels per second, from {MIN_RATE:g} to {MAX_RATE:g}")
    return rate
