"""HTTP client for the admin endpoint of a running proxy."""

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
from sniproxy.inspector.layouts import Layout, Segment

T = TypeVar("T", TopicEntry, NamespaceEntry, Failure)

TIMEOUT_S = 10.0
"""Timeout for an answer, in seconds."""

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}/?")


class AdminError(Exception):
    """The endpoint cannot be queried, or its answer is an error; the message has the cure."""


UNIX = "unix:"
"""Prefix of an endpoint on a Unix socket, before the path."""

MAX_TOPICS = 10_000
"""Topics to fetch from an endpoint: the size of its ledger."""


def as_url(text: str) -> str:
    """Add ``http://`` to a bare host and port, such as ``127.0.0.1:9090``; return all other texts unchanged."""
    return f"http://{text}" if _ADDRESS.fullmatch(text) else text


def fetch_ledger(url: str) -> LedgerSnapshot:
    """Fetch the ledger of a running proxy.

    @param url: the endpoint, such as ``http://127.0.0.1:9090``. @raise AdminError: the query failed.
    """
    document = _document(url, f"topics?limit={MAX_TOPICS}")
    if not document.get("inspecting"):
        raise AdminError(
            'this proxy does not inspect Pulsar; set inspect = "pulsar" on a plaintext listener (docs/howto/inspect.md)'
        )
    try:
        return LedgerSnapshot(
            [_entry(entry) for entry in document["topics"]],
            [_from_json(NamespaceEntry, one) for one in document["namespaces"]],
            [_from_json(Failure, one) for one in reversed(document["failures"])],
        )
    except (KeyError, TypeError) as error:
        raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error


def fetch_status(url: str, tunnels: int | None = None) -> dict[str, Any]:
    """Fetch the JSON of ``/status``.

    @param tunnels: maximum of tunnels; None for the maximum of the proxy. @raise AdminError: the query failed.
    """
    return _document(url, "status" + ("" if tunnels is None else f"?limit={tunnels}"))


def drain(url: str, name: str, rate: float, token: str | None = None) -> dict[str, Any]:
    """Drain a target or a route.

    @param rate: tunnels per second. @param token: the token of C{[admin] token_file}; None for a Unix socket.
    @return: the state of the drain. @raise AdminError: the query failed, or the proxy refused it.
    """
    return _post(url, "drain", {"name": name, "rate": f"{rate:g}"}, token)


def undrain(url: str, name: str, token: str | None = None) -> dict[str, Any]:
    """Cancel a drain. @return: its last state. @raise AdminError: the query failed, or the proxy refused it."""
    return _post(url, "undrain", {"name": name}, token)


def _post(url: str, path: str, query: dict[str, str], token: str | None) -> dict[str, Any]:
    return _document(url, f"{path}?{urllib.parse.urlencode(query)}", "POST", token)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket. @ivar path: the path of the socket."""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _UnixHandler(urllib.request.HTTPHandler):
    """Opens HTTP URLs through a Unix socket. @param path: the path of the socket."""

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
    # Ignore http_proxy of the environment: the endpoint is on this machine or nearby.
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
            text = error.read(300).decode("latin-1").strip()
        raise AdminError(f"HTTP {error.code}: {text}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise AdminError(f"{why}; check that this is the [admin] endpoint of a running proxy") from error
    if not isinstance(document, dict):
        raise AdminError("the answer is not a JSON object")
    return document


def _entry(document: dict[str, Any]) -> TopicEntry:
    entry = _from_json(TopicEntry, document)
    entry.moves = deque(Move(**move) for move in document["moves"])
    entry.brokers = tuple(document["brokers"])
    # Older releases of the proxy have neither.
    layout, segment = document.get("layout"), document.get("segment")
    entry.layout = None if layout is None else Layout(**layout)
    entry.segment = None if segment is None else Segment(**{**segment, "parents": tuple(segment["parents"])})
    return entry


def _from_json(kind: type[T], document: dict[str, Any]) -> T:
    """An object of this class from its JSON; ignores fields that the class does not have."""
    fields = {field.name for field in attrs.fields(kind)}
    return kind(**{name: value for name, value in document.items() if name in fields})
