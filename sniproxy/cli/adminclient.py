"""HTTP client for the admin endpoint of a running proxy."""

from __future__ import annotations

import http.client
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from sniproxy.admin.ledgerdocument import ledger_of
from sniproxy.cli.failure import CommandFailed
from sniproxy.inspector.entries import LedgerSnapshot
from sniproxy.util.text import printable

TIMEOUT_S = 10.0
"""Timeout for an answer, in seconds."""

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}/?")


class AdminError(CommandFailed):
    """The endpoint cannot be queried, or its answer is an error; the message has the cure."""


class ErrorStatus(AdminError):
    """The endpoint answers with an error. @ivar code: the status. @ivar text: the start of the answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"HTTP {code}: {text}")
        self.code = code
        self.text = text


class NotFoundError(ErrorStatus):
    """The endpoint answers 404: it has no such path, target or route."""


MAX_ERROR_BYTES = 2000
"""Maximum of the text of an error."""


UNIX = "unix:"
"""Prefix of an endpoint on a Unix socket, before the path."""

DEFAULT_URL = "http://127.0.0.1:9090"
"""The endpoint that C{status} and C{top} query without an argument: that of the manual's samples."""

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
        return ledger_of(document)
    except (KeyError, TypeError) as error:
        raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error


def fetch_status(url: str, limit: int | None = None, tunnels: int | None = None) -> dict[str, Any]:
    """Fetch the JSON of ``/status``.

    @param limit: maximum of entries of a list; None for the maximum of the proxy. @param tunnels: maximum of tunnels;
        None for the limit. @raise AdminError: the query failed.
    """
    asked = {"limit": limit, "tunnels": tunnels}
    query = urllib.parse.urlencode({name: value for name, value in asked.items() if value is not None})
    return _document(url, f"status?{query}" if query else "status")


def fetch_tunnels(url: str, text: str, sort: str, limit: int, offset: int) -> dict[str, Any] | None:
    """Fetch the open connections that contain a text.

    @param text: empty: all.
    @param sort: C{newest}, C{age} (the oldest first), C{bytes}, C{name}, C{client} or C{target}.
    @param limit: how many to list. @param offset: how many to skip before these.
    @return: the JSON of C{/tunnels}; None if the release of the proxy has none. @raise AdminError: the query failed.
    """
    query = {"filter": text, "sort": sort, "limit": str(limit), "offset": str(offset)}
    try:
        return _document(url, f"tunnels?{urllib.parse.urlencode(query)}")
    except NotFoundError:
        return None


MAX_ASKED = 200
"""Addresses in one query of L{fetch_who}: more would make its first line too long."""


def fetch_who(url: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Fetch the open connections behind addresses that a broker shows.

    @param addresses: C{host:port}. @raise AdminError: the query failed.
    """
    found: list[dict[str, Any]] = []
    for begin in range(0, len(addresses), MAX_ASKED):
        query = urllib.parse.urlencode([("address", one) for one in addresses[begin : begin + MAX_ASKED]])
        found += _document(url, f"who?{query}").get("tunnels", [])
    return found


def drain(url: str, name: str, rate: float, token: str | None = None) -> dict[str, Any]:
    """Drain a target or a route.

    @param rate: tunnels per second. @param token: the token of C{[admin] token_file}; None for a Unix socket.
    @return: the state of the drain. @raise AdminError: the query failed, or the proxy refused it.
    """
    return _post(url, "drain", {"name": name, "rate": f"{rate:g}"}, token)


def undrain(url: str, name: str, token: str | None = None) -> dict[str, Any]:
    """Cancel a drain. @return: its last state. @raise AdminError: the query failed, or the proxy refused it."""
    return _post(url, "undrain", {"name": name}, token)


def fetch_faults(url: str) -> dict[str, Any]:
    """Fetch the JSON of ``/faults``. @raise AdminError: the query failed."""
    return _document(url, "faults")


def add_fault(url: str, values: dict[str, str], token: str | None = None) -> dict[str, Any]:
    """Add a fault on purpose. @param values: keys and values of a C{[[fault]]} table. @return: the fault.

    @raise AdminError: the query failed, or the proxy refused it.
    """
    return _post(url, "faults/add", values, token)


def remove_fault(url: str, name: str, token: str | None = None) -> dict[str, Any]:
    """Remove a fault on purpose. @raise AdminError: the query failed, or the proxy has no such fault."""
    return _post(url, "faults/remove", {"name": name}, token)


def upgrade(url: str, token: str | None = None, timeout: float = TIMEOUT_S) -> dict[str, Any]:
    """Upgrade the program of a proxy: a new process takes over its listeners and tunnels.

    @param timeout: seconds to wait for the result.
    @return: C{pid} and C{old_pid}, the tunnels C{moved} and C{stayed}, and C{seconds}.
    @raise AdminError: the query failed, or the upgrade; the old process continues with what it still has.
    """
    try:
        return _document(url, "upgrade", "POST", token, timeout)
    except NotFoundError as error:
        raise AdminError("this release of the proxy cannot upgrade itself: restart it") from error
    except ErrorStatus as error:
        if error.code not in (409, 500):
            raise
        text = "\n".join(map(printable, error.text.splitlines()))
        raise AdminError(f"{'no upgrade' if error.code == 409 else 'upgrade failed'}: {text}") from error


def _post(url: str, path: str, query: dict[str, str], token: str | None) -> dict[str, Any]:
    return _document(url, f"{path}?{urllib.parse.urlencode(query)}", "POST", token)


class UnixConnection(http.client.HTTPConnection):
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

    def _connection(self, host: str, /, **options: Any) -> UnixConnection:
        connection = UnixConnection(host, **options)
        connection.path = self._path
        return connection


def _document(
    url: str, path: str, method: str = "GET", token: str | None = None, timeout: float = TIMEOUT_S
) -> dict[str, Any]:
    # Ignore http_proxy of the environment: the endpoint is on this machine or nearby.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith(UNIX):
        handlers.append(_UnixHandler(url.removeprefix(UNIX)))
        url = "http://localhost"
    opener = urllib.request.build_opener(*handlers)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/{path}", method=method, headers=headers)
        with opener.open(request, timeout=timeout) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(MAX_ERROR_BYTES).decode("utf-8", "replace").strip()
        raise (NotFoundError if error.code == 404 else ErrorStatus)(error.code, text) from error
    except TimeoutError as error:
        raise AdminError(f"no answer within {timeout:g} s") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise AdminError(f"{why}; check that this is the [admin] endpoint of a running proxy") from error
    if not isinstance(document, dict):
        raise AdminError("the answer is not a JSON object")
    return document
