"""Tests for sniproxy.server.upgrade.receiver."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, DeferredQueue

from sniproxy.admin.upgrades import OldProcess
from sniproxy.events import Connection
from sniproxy.interfaces import Target
from sniproxy.relay.state import CLIENT, TunnelState
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.channel import ENDED, close_all
from sniproxy.server.upgrade.messages import Aborted, Commit, Declined, Held, Message, Remaining, Took
from sniproxy.server.upgrade.receiver import NO_DESCRIPTORS, TunnelReceiver
from tests.support.reactor import reactor
from tests.support.sockets import in_thread, read_exactly
from tests.support.upgrading import TARGET, ChannelCase, tunnel

Adopted = tuple[messages.Tunnel, Connection, Target, TunnelState]


class ReceiverCase(ChannelCase):
    """A receiver. @ivar adopted: its tunnels. @ivar others: its other messages. @ivar over: the reason of the end."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.adopted: DeferredQueue[Adopted] = DeferredQueue()
        self.others: DeferredQueue[tuple[Message, int]] = DeferredQueue()
        self.over: Deferred[str] = Deferred()
        self.receiver = TunnelReceiver(
            reactor, self.ours, OldProcess(77, 5), 1, self.adopt, self.other, self.over.callback
        )
        self.addCleanup(self.receiver.close)

    def adopt(self, *given: Any) -> None:
        state: TunnelState = given[3]
        for sock in (state.client, state.target):
            self.addCleanup(sock.close)
        self.adopted.put(given)

    def other(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        self.others.put((message, len(descriptors)))

    def fill(self) -> None:
        """Send messages until one waits."""
        while not self.receiver._channel._waiting:
            self.receiver.send(Declined(0, "x" * 50000))


class OrderTests(ReceiverCase):
    """Orders to the old process."""

    async def test_versions(self) -> None:
        """Version 1 of the protocol has none."""
        self.receiver.order(messages.Reopen())
        self.receiver.version = 2
        self.receiver.order(messages.Drains(()))
        self.assertEqual(messages.Drains(()), await self.heard())

    async def test_stop(self) -> None:
        """This process stops: the old one shall stop, too, and the channel ends."""
        self.receiver.version = 3
        self.receiver.order(messages.Stop())
        self.receiver.close()
        self.assertEqual(messages.Stop(), await self.heard())
        self.assertIsNone(await self.heard())
        self.assertFalse(self.receiver.open)
        self.receiver.order(messages.Stop())

    async def test_stop_version(self) -> None:
        """Version 2 has no such order: the old process continues."""
        self.receiver.version = 2
        self.receiver.order(messages.Stop())
        self.receiver.close()
        self.assertIsNone(await self.heard())


class TakeTests(ReceiverCase):
    """A tunnel that is taken."""

    async def test_plain(self) -> None:
        """It is adopted with its record, and then answered; its sockets do not block."""
        client, target = self.say_tunnel(tunnel(4))
        message, record, leads_to, state = await self.adopted.get()
        self.assertEqual(Took(4), await self.heard())
        self.assertEqual((tunnel(4), TARGET, 1), (message, leads_to, self.receiver.adopted))
        self.assertEqual(("a-1", "*.example", str(TARGET), 11, 22), (
            record.id, record.route, record.target, record.bytes_up, record.bytes_down))  # fmt: skip
        self.assertEqual(
            (b"", b"", 0, 0, 11, 22, b"", 1.0),
            (state.held_up, state.held_down, state.ended, state.first, state.bytes_up, state.bytes_down, state.answer,
             state.quiet_s),
        )  # fmt: skip
        for ours, theirs in ((state.client, client), (state.target, target)):
            self.assertFalse(ours.getblocking())
            ours.send(b"x")
            self.assertEqual(b"x", await in_thread(read_exactly, theirs, 1))

    async def test_held(self) -> None:
        """It is complete with its held bytes, of both directions, in several messages."""
        up, down = bytes(range(256)) * 1000, b"down"
        message = tunnel(1, up, down, ended=CLIENT, first=CLIENT, answer=b"HTTP")
        await in_thread(self.say_tunnel, message, up, down)
        _, _, _, state = await self.adopted.get()
        self.assertEqual((up, down), (state.held_up, state.held_down))
        self.assertEqual((CLIENT, CLIENT, b"HTTP"), (state.ended, state.first, state.answer))

    async def test_many(self) -> None:
        """Tunnels come one behind the other."""
        for number in range(40):
            await in_thread(self.say_tunnel, tunnel(number, b"", b"a"), b"", b"a")
        for number in range(40):
            self.assertEqual(number, (await self.adopted.get())[0].number)
            self.assertEqual(Took(number), await self.heard())
        self.assertEqual(40, self.receiver.adopted)


class DeclineTests(ReceiverCase):
    """A tunnel that stays with the old process."""

    async def test_no_descriptors(self) -> None:
        """Its descriptors did not arrive, or not both."""
        self.say(tunnel(1))
        self.assertEqual(Declined(1, NO_DESCRIPTORS), await self.heard())
        self.say(tunnel(2), self.theirs)
        self.assertEqual(Declined(2, NO_DESCRIPTORS), await self.heard())
        self.assertEqual(0, self.receiver.adopted)

    async def test_no_target(self) -> None:
        """Its target is none for this program. The old process still has its sockets; this one closes them."""
        client, _ = self.say_tunnel(tunnel(3, target=messages.Destination("", 0, 1, "", False, "")))
        answer = await self.heard()
        assert isinstance(answer, Declined)
        self.assertIn("a tunnel without a target", answer.why)
        self.assertEqual(b"", await in_thread(client.recv, 1))


class PromiseTests(ReceiverCase):
    """A tunnel whose answer waits, because the old process does not read: no byte may move."""

    async def promise(self) -> socket.socket:
        """@return: the client's far end."""
        self.fill()
        client, _ = self.say_tunnel(tunnel(1))
        self.say(Remaining(1, None))
        while self.receiver.old.tunnels != 1:
            await in_thread(int)
        self.assertEqual(([], 0), (self.adopted.pending, self.receiver.adopted))
        return client

    async def test_sent(self) -> None:
        """It is adopted when the answer is sent."""
        await self.promise()
        while (message := await self.heard()) != Took(1):
            self.assertIsInstance(message, Declined)
        await self.adopted.get()

    async def test_aborted(self) -> None:
        """The old process continues: the tunnel is forgotten."""
        client = await self.promise()
        self.say(Aborted())
        self.assertEqual((Aborted(), 0), await self.others.get())
        self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual([], self.adopted.pending)

    async def test_ended(self) -> None:
        """The old process has ended: it does not continue with the tunnel, so this one does."""
        await self.promise()
        self.theirs.close()
        self.assertEqual(1, (await self.adopted.get())[0].number)
        self.assertEqual(ENDED, await self.over)

    async def test_failed(self) -> None:
        """The old process fails to keep to the protocol, but it lives, and keeps the tunnel."""
        client = await self.promise()
        self.receiver.fail("unexpected")
        self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual("unexpected", await self.over)
        self.assertEqual([], self.adopted.pending)

    async def test_bad(self) -> None:
        """So it is with bytes that are no message."""
        client = await self.promise()
        self.theirs.send(b"\xc1")
        self.assertIn("not a message", await self.over)
        self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual([], self.adopted.pending)

    async def test_detach(self) -> None:
        """The channel cannot be given away meanwhile."""
        await self.promise()
        self.assertIsNone(self.receiver.detach())
        self.assertFalse(self.receiver.open)


class OtherTests(ReceiverCase):
    """Other messages, and the end."""

    async def test_others(self) -> None:
        """They are passed on with their descriptors, also held bytes of no tunnel."""
        self.say(Commit(()), self.theirs)
        self.assertEqual((Commit(()), 1), await self.others.get())
        self.say(Held(b"x"))
        self.assertEqual((Held(b"x"), 0), await self.others.get())

    async def test_two_at_once(self) -> None:
        """A tunnel does not come before the one before is complete."""
        self.say_tunnel(tunnel(1, b"x"))
        self.say_tunnel(tunnel(2))
        self.assertEqual((tunnel(2), 2), await self.others.get())

    async def test_remaining(self) -> None:
        """What is left in the old process."""
        self.say(Remaining(9, 12.5))
        while self.receiver.old.tunnels == 5:
            await in_thread(int)
        self.assertEqual(OldProcess(77, 9, 12.5), self.receiver.old)

    async def test_end(self) -> None:
        """A tunnel whose held bytes have not come is the old process's. When it has ended, nothing is left there."""
        client, _ = self.say_tunnel(tunnel(1, b"xy"), b"x")
        self.theirs.close()
        self.assertEqual(ENDED, await self.over)
        self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual((OldProcess(77, 0), False, 0), (
            self.receiver.old, self.receiver.open, self.receiver.adopted))  # fmt: skip
        self.assertIsNone(self.receiver.detach())

    async def test_close(self) -> None:
        """After it is closed, no tunnel comes, and no end is reported."""
        client, _ = self.say_tunnel(tunnel(1, b"xy"), b"x")
        while self.receiver._tunnel is None:
            await in_thread(int)
        self.receiver.close()
        self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertIsNone(await self.heard())
        self.assertFalse(self.over.called)

    async def test_detach(self) -> None:
        """The channel can be given away: another process reads what comes."""
        given = self.receiver.detach()
        assert given is not None
        with given:
            self.say(Remaining(1, None))
            self.assertNotEqual(b"", given.recv(99))
            given.send(messages.encode(Took(1)))
            self.assertEqual(Took(1), await self.heard())

    async def test_detach_half(self) -> None:
        """Not while a tunnel arrives."""
        self.say_tunnel(tunnel(1, b"xy"), b"x")
        while self.receiver._tunnel is None:
            await in_thread(int)
        self.assertIsNone(self.receiver.detach())
