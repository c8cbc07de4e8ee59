"""Asks the admin endpoint of a running proxy."""

from __future__ import annotations

import http.client
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from typing import Any, TypeVar

import attrs

from sniproxy.inspector.entries import Failure, LedgerSnapshot, Move, NamespaceEntry, TopicEntry

T = TypeVar("T", TopicEntry, NamespaceEntry, Failure)

TIMEOUT_S = 10.0
"""Seconds that an answer may take."""


_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}/?")


class AdminError(Exception):
    """The endpoint cannot be asked, or answers something else; the message says what to look at."""


UNIX = "unix:"
"""What an endpoint on a unix socket begins with; the rest is its path."""

MAX_TOPICS = 10_000
"""Topics that an endpoint is asked for: as many as it remembers."""


def as_url(text: str) -> str:
    """An endpoint's URL; a bare host and port, such as ``127.0.0.1:9090``, are of HTTP. Anything else is left as is."""
    return f"http://{text}" if _ADDRESS.fullmatch(text) else text


def known(url: str) -> LedgerSnapshot:
    """The ledger of a running proxy.

    @param url: the endpoint, such as ``http://127.0.0.1:9090``. @raise AdminError: there is no such answer.
    """
    document = _document(url, f"topics?limit={MAX_TOPICS}")
    if not document.get("inspecting"):
        raise AdminError(
            'this proxy inspects nothing: a plaintext listener with inspect = "pulsar" would (docs/inspector.md)'
        )
    try:
        return LedgerSnapshot(
            [_entry(entry) for entry in document["topics"]],
            [_made(NamespaceEntry, said) for said in document["namespaces"]],
            [_made(Failure, said) for said in reversed(document["failures"])],
        )
    except (KeyError, TypeError) as error:
        raise AdminError(f"its answer is not one of this release's: {error!r}") from error


def status(url: str, tunnels: int | None = None) -> dict[str, Any]:
    """The JSON of ``/status``.

    @param tunnels: so many at most; None: as many as the proxy shows. @raise AdminError: there is no such answer.
    """
    return _document(url, "status" + ("" if tunnels is None else f"?limit={tunnels}"))


def drain(url: str, name: str, rate: float, token: str | None = None) -> dict[str, Any]:
    """Drain a target or a route, at so many tunnels a second.

    @param token: the one of C{[admin] token_file}. None: the endpoint is a unix socket, and needs none.
    @return: how far it is. @raise AdminError: it is refused.
    """
    return _changed(url, "drain", {"name": name, "rate": f"{rate:g}"}, token)


def undrain(url: str, name: str, token: str | None = None) -> dict[str, Any]:
    """Give it new connections again. @return: how far it was. @raise AdminError: it is refused."""
    return _changed(url, "undrain", {"name": name}, token)


def _changed(url: str, path: str, query: dict[str, str], token: str | None) -> dict[str, Any]:
    return _document(url, f"{path}?{urllib.parse.urlencode(query)}", "POST", token)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP by a unix socket. @ivar path: of the socket."""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _UnixHandler(urllib.request.HTTPHandler):
    """Opens URLs of HTTP by a unix socket. @param path: of the socket."""

    def __init__(self, path: str) -> None:
        urllib.request.HTTPHandler.__init__(self)
        self._path = path

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, /, **options: Any) -> _UnixConnection:
        connection = _UnixConnection(host, **options)
        connection.path = self._path
        return connection


def _document(url: str, path: str, method: str = "GET", token: str | None = None) -> dict[str, Any]:
    # No proxy of the environment's is asked: the endpoint is on this machine, or near.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith(UNIX):
        handlers.append(_UnixHandler(url.removeprefix(UNIX)))
        url = "http://localhost"
    opener = urllib.request.build_opener(*handlers)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/{path}", method=method, headers=headers)
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(300).decode("latin-1").strip()
        raise AdminError(f"it says {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise AdminError(f"{why}; is this the address of [admin] endpoint?") from error
    if not isinstance(document, dict):
        raise AdminError("its answer is no JSON object")
    return document


def _entry(said: dict[str, Any]) -> TopicEntry:
    entry = _made(TopicEntry, said)
    entry.moves = deque(Move(**move) for move in said["moves"])
    entry.brokers = tuple(said["brokers"])
    return entry


def _made(kind: type[T], said: dict[str, Any]) -> T:
    """An object of what an endpoint says of it, and may say of more."""
    fields = {field.name for field in attrs.fields(kind)}
    return kind(**{name: value for name, value in said.items() if name in fields})
