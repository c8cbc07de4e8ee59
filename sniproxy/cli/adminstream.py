"""Reads an answer of the admin endpoint that has no end: a message in JSON a line."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sniproxy.cli.adminclient import (
    MAX_ERROR_BYTES,
    TIMEOUT_S,
    UNIX,
    AdminError,
    ErrorStatus,
    NotFoundError,
    UnixConnection,
)

MAX_MESSAGE_BYTES = 64 << 20
"""Longest message: a frame with the largest payload that is kept, in base64, has fewer."""


class AdminStream:
    """The messages of an answer.

    @param url: of the admin endpoint. @param query: the query. @param token: None for a Unix socket.
    @raise AdminError: the endpoint cannot be reached, or refuses.
    """

    def __init__(self, url: str, path: str, query: Sequence[tuple[str, str]], token: str | None) -> None:
        connection, prefix = _connection(url)
        self._connection = connection
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.connect()
            # The answer takes the socket, whose timeout is changed later.
            self._socket: Any = connection.sock
            connection.request("POST", f"{prefix}/{path}?{urllib.parse.urlencode(query)}", headers=headers)
            self._answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise AdminError(f"{error}; check that this is the [admin] endpoint of a running proxy") from error
        if self._answer.status != 200:
            text = self._answer.read(MAX_ERROR_BYTES).decode("utf-8", "replace").strip()
            self.close()
            raise (NotFoundError if self._answer.status == 404 else ErrorStatus)(self._answer.status, text)

    def messages(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Iterator[dict[str, Any]]:
        """The messages as they come, until the proxy ends the answer, or for a time.

        @param seconds: None: there is no limit. @raise AdminError: a message cannot be read.
        """
        ends = None if seconds is None else clock() + seconds
        while True:
            left = None if ends is None else ends - clock()
            if left is not None and left <= 0:
                return
            self._socket.settimeout(left)
            try:
                line = self._answer.readline(MAX_MESSAGE_BYTES)
                message = json.loads(line) if line else None
            except (OSError, http.client.HTTPException):  # the time is over, or the proxy has ended
                return
            except ValueError as error:
                raise AdminError(f"unexpected answer, perhaps from another release: {error}") from error
            if message is None:
                return
            if not isinstance(message, dict):
                raise AdminError("unexpected answer, perhaps from another release: not an object")
            yield message

    def close(self) -> None:
        """Close the connection: the proxy stops."""
        self._answer.close()
        self._connection.close()


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not open yet, and the path of the endpoint. @raise AdminError: the URL is none."""
    if url.startswith(UNIX):
        connection = UnixConnection("localhost", timeout=TIMEOUT_S)
        connection.path = url.removeprefix(UNIX)
        return connection, ""
    try:
        parts = urllib.parse.urlsplit(url)
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
        return kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S), parts.path.rstrip("/")
    except (KeyError, ValueError, http.client.InvalidURL) as error:
        raise AdminError("write http://HOST:PORT or unix:PATH") from error
