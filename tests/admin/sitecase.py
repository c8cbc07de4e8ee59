"""A site over real sockets, and its client."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, cast

import attrs

from tests.admin.sample import SampleSite
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread


@attrs.frozen
class Answer:
    """The answer of the server."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes


class SiteTestCase(SocketTestCase):
    """A site that listens, and its client."""

    def serve(self, **options: Any) -> SampleSite:
        sample = SampleSite(reactor, **options)
        self.port: Any = reactor.listenTCP(0, cast(Any, sample.site), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        return sample

    @property
    def number(self) -> int:
        number: int = self.port.getHost().port
        return number

    async def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request on its own connection."""

        def asked() -> Answer:
            client = http.client.HTTPConnection("127.0.0.1", self.number, timeout=TIMEOUT_S)
            try:
                client.request(method, path, headers=headers or {})
                response = client.getresponse()
                return Answer(response.status, response.headers, response.read())
            finally:
                client.close()

        return await in_thread(asked)
