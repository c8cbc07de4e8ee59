"""What the http resolver asks: a URL and a body with places that a connection fills. Pure.

``{server_name}``, ``{listener}``, ``{port}`` of the listener that the client came to, and ``{1}`` to ``{9}``, what the
route's star or an expression's groups took out of the name.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from sniproxy.interfaces import Request
from sniproxy.util.names import BadName, server_name

_PLACE = re.compile(r"\{([^{}]*)\}")
_KNOWN = re.compile(r"server_name|listener|port|[1-9]")
_SAMPLE = Request("a", (), "", "a", ("1",) * 9, 1)

HOW = "write scheme, host and path, as in https://registry.internal/names/{server_name}"


class BadQuestion(ValueError):
    """A text that cannot be asked, or whose places a connection cannot fill; the message says why."""


def fill(text: str, request: Request, written: Callable[[str], str] = str) -> str:
    """A text with its places filled. @param written: how a value is written where it stands.

    @raise BadQuestion: there is nothing for a place.
    """
    captures = dict(enumerate(request.captures, 1))

    def value(place: re.Match[str]) -> str:
        name = place[1]
        if name.isdigit():
            found = captures.get(int(name))
        elif name == "port":
            found = None if request.port is None else str(request.port)
        else:
            found = request.listener if name == "listener" else request.server_name
        if found is None:
            raise BadQuestion(f"there is nothing for {place[0]}")
        return written(found)

    return _PLACE.sub(value, text)


def check_places(text: str) -> None:
    """@raise BadQuestion: a place is unknown, or a brace stands alone."""
    for name in _PLACE.findall(text):
        if not _KNOWN.fullmatch(name):
            known = "{server_name}, {listener}, {port}, {1} to {9}"
            raise BadQuestion(f"there is no {{{name}}}; known here: {known}")
    if "{" in (rest := _PLACE.sub("", text)) or "}" in rest:
        raise BadQuestion("a brace stands alone; write {server_name}, {listener}, {port}, or {1} to {9}")


@attrs.frozen
class URL:
    """@ivar text: as an operator writes it, checked by L{parse_url}."""

    text: str

    def fill(self, request: Request) -> str:
        """For a connection. What it brings is percent-encoded, and stays the part of the path that it is.

        @raise BadQuestion: there is nothing for a place, or it would change the path.
        """
        url = fill(self.text, request, lambda value: quote(value, safe=""))
        if not {".", ".."}.isdisjoint(urlsplit(url).path.split("/")):
            raise BadQuestion("'.' and '..' are not asked for as parts of a path")
        return url


def parse_url(text: str) -> URL:
    """@raise BadQuestion: it is no URL of HTTP, or its places are not in its path and query."""
    try:
        parts = urlsplit(text)
        server_name(parts.hostname or "")
        _ = parts.port
    except (ValueError, BadName) as error:
        raise BadQuestion(HOW) from error
    if parts.scheme not in ("http", "https") or not (text.isascii() and text.isprintable()) or " " in text:
        raise BadQuestion(HOW)
    if "@" in parts.netloc or "#" in text:
        raise BadQuestion("no user and no fragment; a secret belongs in token_file")
    if "{" in parts.netloc:
        raise BadQuestion("places stand in path and query: a client does not choose who is asked")
    check_places(text)
    URL(text).fill(_SAMPLE)
    return URL(text)


@attrs.frozen
class Body:
    """@ivar document: JSON whose texts may have places. @ivar in_base64: whether its texts are sent in base64."""

    document: Any
    in_base64: bool = False

    def fill(self, request: Request) -> bytes:
        """For a connection. @raise BadQuestion: there is nothing for a place."""
        return json.dumps(self._filled(self.document, request)).encode()

    def _filled(self, value: Any, request: Request) -> Any:
        if isinstance(value, str):
            text = fill(value, request)
            return b64encode(text.encode()).decode() if self.in_base64 else text
        if isinstance(value, list):
            return [self._filled(one, request) for one in value]
        if isinstance(value, dict):
            return {key: self._filled(one, request) for key, one in value.items()}
        return value


def parse_body(text: str, in_base64: bool) -> Body:
    """@raise BadQuestion: it is not JSON, or a place in its texts is unknown."""
    try:
        body = Body(json.loads(text), in_base64)
    except (ValueError, RecursionError) as error:
        raise BadQuestion('write JSON, as in \'{"name": "{server_name}"}\'') from error
    for one in _texts(body.document):
        check_places(one)
    return body


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
