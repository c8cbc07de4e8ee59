"""URL and body of a request, with placeholders that each connection fills. Pure.

The placeholders are C{{server_name}}, C{{listener}}, C{{port}} (that the client connected to), and C{{1}} to C{{9}},
the captures of the route's wildcard or expression.
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

_URL_CURE = "write scheme, host and path, as in https://registry.internal/names/{server_name}"


class BadRequestTemplate(ValueError):
    """A text is invalid, or a connection has no value for a placeholder. The message says why."""


def fill(text: str, request: Request, written: Callable[[str], str] = str) -> str:
    """Fill the placeholders of a text. @param written: encodes a value.

    @raise BadRequestTemplate: the connection has no value for a placeholder.
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
            raise BadRequestTemplate(f"no value for {place[0]}")
        return written(found)

    return _PLACE.sub(value, text)


def check_placeholders(text: str) -> None:
    """@raise BadRequestTemplate: a placeholder is unknown, or a brace is unmatched."""
    for name in _PLACE.findall(text):
        if not _KNOWN.fullmatch(name):
            known = "{server_name}, {listener}, {port}, {1} to {9}"
            raise BadRequestTemplate(f"unknown placeholder {{{name}}}; known: {known}")
    if "{" in (rest := _PLACE.sub("", text)) or "}" in rest:
        raise BadRequestTemplate("unmatched brace; write {server_name}, {listener}, {port}, or {1} to {9}")


@attrs.frozen
class URLTemplate:
    """A URL with placeholders. @ivar text: as the operator wrote it, checked by L{parse_url}."""

    text: str

    def fill(self, request: Request) -> str:
        """The URL for a connection. Values are percent-encoded, so that they stay within their path segment.

        @raise BadRequestTemplate: there is no value for a placeholder, or a value would change the path.
        """
        url = fill(self.text, request, lambda value: quote(value, safe=""))
        if not {".", ".."}.isdisjoint(urlsplit(url).path.split("/")):
            raise BadRequestTemplate("'.' and '..' are not allowed as path segments")
        return url


def parse_url(text: str) -> URLTemplate:
    """Parse a URL. @raise BadRequestTemplate: it is not an HTTP URL, or has placeholders outside path and query."""
    try:
        parts = urlsplit(text)
        server_name(parts.hostname or "")
        _ = parts.port
    except (ValueError, BadName) as error:
        raise BadRequestTemplate(_URL_CURE) from error
    if parts.scheme not in ("http", "https") or not (text.isascii() and text.isprintable()) or " " in text:
        raise BadRequestTemplate(_URL_CURE)
    if "@" in parts.netloc or "#" in text:
        raise BadRequestTemplate("remove the user or fragment; a secret belongs in token_file")
    if "{" in parts.netloc:
        raise BadRequestTemplate("placeholders are allowed in path and query only: clients must not choose the server")
    check_placeholders(text)
    URLTemplate(text).fill(_SAMPLE)
    return URLTemplate(text)


@attrs.frozen
class BodyTemplate:
    """A JSON body with placeholders. @ivar document: parsed JSON. @ivar in_base64: whether to encode its texts."""

    document: Any
    in_base64: bool = False

    def fill(self, request: Request) -> bytes:
        """The body for a connection. @raise BadRequestTemplate: there is no value for a placeholder."""
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


def parse_body(text: str, in_base64: bool) -> BodyTemplate:
    """Parse a body. @raise BadRequestTemplate: it is not JSON, or a placeholder is unknown."""
    try:
        body = BodyTemplate(json.loads(text), in_base64)
    except (ValueError, RecursionError) as error:
        raise BadRequestTemplate('write JSON, as in \'{"name": "{server_name}"}\'') from error
    for one in _texts(body.document):
        check_placeholders(one)
    return body


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
