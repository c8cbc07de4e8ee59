"""Host names to addresses."""

from __future__ import annotations

import socket
import threading

from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from sniproxy.net import lookup
from sniproxy.net.lookup import Lookups
from tests.net.support import PATIENCE, SocketTestCase


class LookupTests(SocketTestCase):
    """The system's resolver, in threads."""

    async def test_localhost(self) -> None:
        """A name that the system knows."""
        self.assertIn("127.0.0.1", await Lookups(reactor).addresses("localhost"))

    async def test_unknown(self) -> None:
        """A name that nobody knows, or that is none, has no addresses."""

        def fail(*args: object, **more: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        self.patch(socket, "getaddrinfo", fail)
        self.assertEqual([], await Lookups(reactor).addresses("unknown.invalid"))
        self.patch(socket, "getaddrinfo", lambda *args, **more: ("x" * 70).encode("idna"))
        self.assertEqual([], await Lookups(reactor).addresses("bad"))

    async def test_shared(self) -> None:
        """Who asks for a name that is being looked up gets the same answer; a silent name keeps no other waiting."""
        answer = threading.Event()
        asked = []

        def getaddrinfo(host: str, port: int, **more: object) -> list[tuple[object, ...]]:
            asked.append(host)
            if host == "silent":
                answer.wait(PATIENCE)
            return [(None, None, None, "", ("192.0.2.7", port)), (None, None, None, "", ("192.0.2.7", port))]

        self.patch(socket, "getaddrinfo", getaddrinfo)
        self.patch(lookup, "MOST_THREADS", 2)
        lookups = Lookups(reactor)
        silent = [lookups.addresses("silent") for _ in range(50)]
        for host in ("a", "b", "c"):
            self.assertEqual(["192.0.2.7"], await lookups.addresses(host))
        silent.pop().addErrback(lambda _: None).cancel()
        answer.set()
        self.assertEqual([["192.0.2.7"]] * 49, await gatherResults(silent))
        self.assertEqual(1, asked.count("silent"))

    async def test_nobody_waits(self) -> None:
        """A name for which nobody waits any more is not looked up when its turn comes; another's turn comes then."""
        answer = threading.Event()
        asked = []

        def getaddrinfo(host: str, port: int, **more: object) -> list[tuple[object, ...]]:
            asked.append(host)
            answer.wait(PATIENCE)
            return [(None, None, None, "", ("192.0.2.7", port))]

        self.patch(socket, "getaddrinfo", getaddrinfo)
        self.patch(lookup, "MOST_THREADS", 1)
        lookups = Lookups(reactor)
        silent = lookups.addresses("silent")
        given_up = [lookups.addresses(host) for host in ("a", "b", "b", "c")]
        for waiting in [*given_up[:2], given_up[3]]:
            waiting.addErrback(lambda _: None).cancel()
        answer.set()
        self.assertEqual([["192.0.2.7"]] * 2, await gatherResults([silent, given_up[2]]))
        self.assertEqual(["192.0.2.7"], await lookups.addresses("a"))
        self.assertEqual(["silent", "b", "a"], asked)
