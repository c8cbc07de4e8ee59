"""Tests for sniproxy.cli.conversation.played."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.trial.unittest import TestCase

from sniproxy.cli.conversation.played import PlayedBrokers, beside
from sniproxy.cli.conversation.playing import PlayingProtocol
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.comparison import Rules
from sniproxy.conversation.player import Player
from sniproxy.pulsar.serviceurl import parse_service_url
from tests.conversation.talk import conversation, talk
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, in_thread

LISTEN = "tcp:0:interface=127.0.0.1"


class PlayedTests(TestCase):
    """PlayedBrokers, with real clients."""

    def brokers(self, text: str = LISTEN) -> PlayedBrokers:
        made = PlayedBrokers(text, reactor)
        self.addCleanup(made.close)
        return made

    def playing(self) -> PlayingProtocol:
        return PlayingProtocol(Player(conversation(talk()), "broker", Rules()), reactor, TIMEOUT_S, None, close=False)

    def connect(self, url: str | None) -> socket.socket:
        assert url is not None
        client = socket.create_connection(parse_service_url(url).hosts[0], TIMEOUT_S)
        self.addCleanup(client.close)
        return client

    async def test_several(self) -> None:
        """Each broker has an address and files of its own; a connection that no file is left for is closed."""
        made = self.brokers()
        for name in ("a:1", "b:2"):
            await made.open(name)
        self.assertEqual(["a:1", "b:2"], list(made.urls))
        one, two, three = (self.playing() for _ in range(3))
        for name, playing in (("a:1", one), ("b:2", two), ("a:1", three)):
            made.put(name, playing)
        self.connect(made.urls["b:2"])
        await made.begins(two, TIMEOUT_S)
        self.assertFalse(one.finished.called)
        for playing in (one, three):
            self.connect(made.urls["a:1"])
            await made.begins(playing, TIMEOUT_S)
        self.assertEqual(0, made.further)
        self.assertEqual(b"", await in_thread(self.connect(made.urls["b:2"]).recv, 1))
        self.assertEqual(1, made.further)

    async def test_later(self) -> None:
        """Each connection gives the others time."""
        made = self.brokers()
        await made.open("a:1")
        one, two = self.playing(), self.playing()
        for playing in (one, two):
            made.put("a:1", playing)
        begun = Deferred.fromCoroutine(made.begins(two, TIMEOUT_S))
        for _ in range(2):
            self.connect(made.urls["a:1"])
        await begun
        await made.begins(one, 0.0)
        await in_thread(int)  # until the connection is made

    async def test_nobody(self) -> None:
        """Nobody came in time."""
        made = self.brokers()
        await made.open("a:1")
        playing = self.playing()
        made.put("a:1", playing)
        await self.assertFailure(Deferred.fromCoroutine(made.begins(playing, 0.001)), TookTooLong)

    async def test_endpoints(self) -> None:
        """A UNIX socket has no URL; an endpoint that is none is an error."""
        made = self.brokers(f"unix:{os.path.relpath(self.mktemp())}")  # an absolute path may be too long
        await made.open("a:1")
        self.assertEqual({"a:1": None}, made.urls)
        opening: Deferred[Any] = Deferred.fromCoroutine(self.brokers("nonsense").open("a"))
        failure = await self.assertFailure(opening, CommandFailed)
        self.assertIn("cannot listen on nonsense", str(failure))

    def test_beside(self) -> None:
        """Another port of the same address, whatever the order of the endpoint's parts."""
        for text, expected in (
            ("tcp:7650", "tcp:0"),
            (LISTEN, LISTEN),
            ("tcp:interface=127.0.0.1:port=7650", LISTEN),
            ("tcp6:port=7650:interface=\\:\\:1", "tcp6:0:interface=\\:\\:1"),
            ("ssl:7651:privateKey=k:certKey=c", "ssl:0:privateKey=k:certKey=c"),
        ):
            self.assertEqual(expected, beside(text))
