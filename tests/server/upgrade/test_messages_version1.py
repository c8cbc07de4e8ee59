"""Upgrades from and to releases that speak only version 1 of the protocol, with a frozen copy of their messages."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.upgrade import messages, predecessor
from sniproxy.server.upgrade.channel import MAX_DESCRIPTORS, close_all, socket_pair
from sniproxy.server.upgrade.messages import MAX_PACKET_BYTES
from sniproxy.server.upgrade.predecessor import read_offer
from sniproxy.server.upgrade.program import CHANNEL, Successor
from tests.support import upgradeprotocol1 as v1
from tests.support.conversation import NAME, route
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread
from tests.support.upgrading import tunnel

ENDPOINT = "tcp:0:interface=127.0.0.1:backlog=1024"

SAME = (
    messages.Offer((2, 1), "9.9", 7, 3),
    messages.Socket(1, "tcp:1", True),
    messages.Offered(),
    messages.Refused("x.toml: bad"),
    messages.Ready(1, 8, (0, 2)),
    tunnel(5, b"up", b"down", route=None),
    messages.Held(b"held"),
    messages.Took(5),
    messages.Declined(5, "no"),
    messages.Commit((messages.Drain("h:1", 2.0, "target"),)),
    messages.Committed(),
    messages.Aborted(),
    messages.Inherited(1, 6, 2, None),
    messages.Remaining(2, 1234.5),
)


class MessageTests(SynchronousTestCase):
    """The messages of both versions."""

    def test_same(self) -> None:
        """All messages of version 1 are the same, byte for byte."""
        for message in SAME:
            packet = messages.encode(message)
            self.assertEqual(packet, v1.encode(v1.decode(packet)))
            self.assertEqual(message, messages.decode(packet))
        self.assertEqual(set(get_args(v1.Message)), {type(v1.decode(messages.encode(one))) for one in SAME})

    def test_faults(self) -> None:
        """Version 1 has no faults, and ignores them."""
        drains = (messages.Drain("h:1", 2.0, "target"),)
        commit = messages.Commit(drains, (messages.FaultState({"action": "cut"}, 3, 2, True),))
        self.assertEqual(v1.decode(messages.encode(messages.Commit(drains))), v1.decode(messages.encode(commit)))

    def test_new(self) -> None:
        """Version 1 has no orders."""
        for message in (messages.Reopen(), messages.Drains(()), messages.Stop()):
            self.assertRaises(msgspec.MsgspecError, v1.decode, messages.encode(message))


class Version1Case(SocketTestCase):
    """A proxy; the test is the other process, and speaks version 1. @ivar mine: its end of the channel."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(predecessor, "end_capture", os.close)
        self.backend = Backend(self)
        self.text = f"{LISTENER}{route(self.backend.address)}"
        self.mine, self.other = socket_pair()
        self.mine.settimeout(TIMEOUT_S)
        self.addCleanup(self.mine.close)

    def say(self, message: v1.Message, *sockets: socket.socket) -> None:
        socket.send_fds(self.mine, [v1.encode(message)], [sock.fileno() for sock in sockets])

    async def heard(self) -> v1.Message | None:
        """The next message; its descriptors are closed. None: the channel has ended."""
        packet, descriptors, _, _ = await in_thread(socket.recv_fds, self.mine, MAX_PACKET_BYTES, MAX_DESCRIPTORS)
        close_all(descriptors)
        return v1.decode(packet) if packet else None

    async def until(self, kind: type[Any]) -> Any:
        while not isinstance(message := await self.heard(), kind):
            self.assertIsNotNone(message)
        return message


class OldTests(Version1Case):
    """The old process speaks version 1."""

    async def test_upgrade(self) -> None:
        """The new process takes over, and sends no orders."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.say(v1.Offer((1,), "0.9", 77, 1))
        self.say(v1.Socket(0, ENDPOINT), listening)
        self.say(v1.Offered())
        found = read_offer(None, {CHANNEL: f"{self.other.detach()}:{os.open(os.devnull, os.O_WRONLY)}"})
        new = Proxy(self, self.text, predecessor=found)
        in_charge: Deferred[bool] = Deferred()
        new.service.take_over(in_charge.callback)
        self.assertEqual(v1.Ready(1, os.getpid(), (0,)), await self.heard())
        self.assertEqual(listening.getsockname(), new.service.addresses["public"])
        listening.close()
        self.say(v1.Commit((v1.Drain(self.backend.address, 2.0, "target"),)))
        self.assertEqual(v1.Committed(), await self.heard())
        self.assertTrue(await in_charge)
        new.service.reopen_logs()
        new.service.view.undrain(self.backend.address)
        self.say(v1.Remaining(1, None))
        while [one.tunnels for one in new.service.view.old_processes] != [1]:
            await in_thread(int)
        await open_tunnel(self, new, self.backend, NAME)
        new.service._succession.stop()
        self.assertIsNone(await self.heard())


class NewTests(Version1Case):
    """The new process speaks version 1."""

    def start(self) -> tuple[Successor, socket.socket]:
        nothing = lambda: None  # noqa: E731
        return SimpleNamespace(pid=1, ended=False, why=str, errors=list, kill=nothing, close=nothing), self.other

    async def test_upgrade(self) -> None:
        """It takes the sockets, the tunnels and the drains; the old process keeps its drains."""
        old = Proxy(self, self.text)
        await open_tunnel(self, old, self.backend, NAME)
        old.service.view.drain(self.backend.address, 0.001)
        done = old.service.upgrade(self.start, lambda pid: None, lambda: None)
        offer = await self.heard()
        assert isinstance(offer, v1.Offer)
        self.assertIn(1, offer.versions)
        self.assertEqual(v1.Socket(0, ENDPOINT), await self.heard())
        self.assertEqual(v1.Offered(), await self.heard())
        self.say(v1.Ready(1, 78, (0,)))
        self.say(v1.Took((await self.until(v1.Tunnel)).number))
        commit = await self.until(v1.Commit)
        self.assertEqual((v1.Drain(self.backend.address, 0.001, "target"),), commit.drains)
        self.say(v1.Committed())
        report = await done
        self.assertEqual((None, 78, 1), (report.why, report.pid, report.moved))
        self.assertEqual(0, (await self.until(v1.Remaining)).tunnels)
        self.assertEqual([self.backend.address], [one.name for one in old.service.view.drains.status()])
