"""Pulsar's admin API, asked over HTTP: deadlines, what its statuses mean, redirects with care."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.resolvers.http.client import Credentials, HTTPAnswer, HTTPClient, HTTPFailure, body_excerpt, display_url
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import bounded

MAX_BYTES = 4 * 2**20
"""Of an answer; a broker's configuration has about 40 kB."""

MAX_REDIRECTS = 3


class AdminFailure(Exception):
    """There is no good answer; the text says from where, and why.

    @ivar status: HTTP's. None: there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def forbidden(self) -> bool:
        """Whether who we are is the reason: 401 and 403."""
        return self.status in (401, 403)


class AdminClient:
    """Asks; files are read again when they have changed.

    @param address: by which address a host is dialled; certificates are verified for the host itself.
    @param timeout: seconds for each answer, from connecting to its last byte.
    """

    def __init__(
        self, reactor: Any, credentials: Credentials, timeout: float, address: Callable[[str], str] = str
    ) -> None:
        """@raise AdminFailure: a file cannot be used."""
        self._reactor = reactor
        self._timeout = timeout
        try:
            self._client = HTTPClient(reactor, credentials, timeout, MAX_BYTES, address)
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error

    def read(self) -> None:
        """Look at the files again. @raise AdminFailure: one cannot be used; what was read before stays in force."""
        try:
            self._client.read()
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error

    async def get(self, url: str, trusted: Collection[str]) -> bytes:
        """The body of the answer at a URL; redirects are followed.

        @param trusted: hosts that get the token; a redirect to another one goes without.
        @raise AdminFailure: there is none within the timeout, or its status is not 200.
        """
        answer: Deferred[bytes] = Deferred.fromCoroutine(self._follow(url, trusted))
        answer.addTimeout(self._timeout, self._reactor, lambda *_: Failure(_TimedOut()))
        try:
            return await answer
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error
        except _TimedOut:
            raise AdminFailure(f"{display_url(url)}: no answer within {self._timeout:g} s") from None

    def close(self) -> Deferred[None]:
        """Close what is open and idle. Questions that are under way are cancelled by who asks."""
        return self._client.close()

    async def _follow(self, url: str, trusted: Collection[str]) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": "application/json, text/plain"}
            if self._client.token is not None and urlsplit(url).hostname in trusted:
                headers["Authorization"] = f"Bearer {self._client.token}"
            answer = await self._client.ask(url, headers)
            if answer.status == 200:
                return answer.body
            if answer.status not in (301, 302, 307, 308):
                raise AdminFailure(f"{display_url(url)}: {_status(answer)}", answer.status)
            url = _next(url, answer)
        raise AdminFailure(f"{display_url(url)}: more than {MAX_REDIRECTS} redirects")


class _TimedOut(Exception):
    pass


def _next(url: str, answer: HTTPAnswer) -> str:
    """Where a redirect leads."""
    try:
        there: str = urljoin(url, answer.location)
        parts = urlsplit(there)
        server_name(parts.hostname or "")
        _ = parts.port
        there.encode("ascii")
    except (ValueError, BadName) as error:
        raise AdminFailure(f"{display_url(url)}: it redirects to what is no URL") from error
    if parts.scheme not in ("https", urlsplit(url).scheme):
        raise AdminFailure(
            f"{display_url(url)}: it redirects from https to {bounded(parts.scheme)}, which is not followed"
        )
    return there


def _status(answer: HTTPAnswer) -> str:
    code = answer.status
    # Pulsar says 401 to a role without rights, too.
    cure = {code: f"{code}, no right to this; token_file or certificate must be a super-user's" for code in (401, 403)}
    cure[404] = "404, there is no such thing"
    return cure.get(code, str(code)) + body_excerpt(answer.body)
