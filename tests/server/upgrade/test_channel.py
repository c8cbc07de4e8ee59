"""Tests for sniproxy.server.upgrade.channel."""

from __future__ import annotations

import errno
import os
import resource
import socket

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from sniproxy.server.upgrade import channel
from sniproxy.server.upgrade.channel import BATCH, ENDED, Channel, close_all, receive, socket_pair
from sniproxy.server.upgrade.messages import (
    MAX_PACKET_BYTES,
    BadMessage,
    Committed,
    Held,
    Message,
    Offered,
    Socket,
    Took,
    encode,
)
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread


class PairCase(SocketTestCase):
    """Both ends, of which the other one is the test's."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.ours, self.theirs = socket_pair()
        self.theirs.settimeout(TIMEOUT_S)
        for sock in (self.ours, self.theirs):
            self.addCleanup(sock.close)

    def pipe(self) -> tuple[int, int]:
        """Both ends of a pipe, which the test closes."""
        return os.pipe()


class ReceiveTests(PairCase):
    """receive, socket_pair and close_all."""

    def test_not_inherited(self) -> None:
        """Programs that this process starts get neither end."""
        self.assertEqual([False, False], [os.get_inheritable(sock.fileno()) for sock in (self.ours, self.theirs)])

    def test_descriptors(self) -> None:
        """Descriptors come with their message, refer to the same files, and are not inherited."""
        pipe = self.pipe()
        socket.send_fds(self.theirs, [encode(Socket(4, "tcp:1"))], pipe)
        message, (read, write) = receive(self.ours)
        self.assertEqual(Socket(4, "tcp:1"), message)
        os.write(write, b"x")
        self.assertEqual(b"x", os.read(pipe[0], 9))
        self.assertEqual([False, False], [os.get_inheritable(each) for each in (read, write)])
        close_all((read, write, *pipe))

    def test_end(self) -> None:
        """A closed end is no message."""
        self.theirs.close()
        self.assertEqual((None, []), receive(self.ours))

    def test_bad(self) -> None:
        """The descriptors of a message that cannot be read are closed."""
        pipe = self.pipe()
        socket.send_fds(self.theirs, [b"\xc1"], pipe)
        self.assertRaises(BadMessage, receive, self.ours)
        close_all(pipe)

    def test_long(self) -> None:
        """A message is read whole or not at all."""
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_PACKET_BYTES)
        self.theirs.send(bytes(MAX_PACKET_BYTES + 1))
        error = self.assertRaises(BadMessage, receive, self.ours)
        self.assertEqual("a message is too long", str(error))

    def test_limit(self) -> None:
        """At the limit of open files, a message comes without its descriptors."""
        pipe = self.pipe()
        socket.send_fds(self.theirs, [encode(Took(1))], pipe)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # no new descriptor is below it
        try:
            self.assertEqual((Took(1), []), receive(self.ours))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        close_all(pipe)


class ChannelCase(PairCase):
    """A channel, and the other end.

    @ivar heard: the messages. @ivar sent: the numbers of messages that the system has. @ivar reasons: of the end.
    """

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.heard: list[Message] = []
        self.arrived: DeferredQueue[Message] = DeferredQueue()
        self.reasons: list[str] = []
        self.over: Deferred[str] = Deferred()
        self.sent: list[int] = []
        self.channel = Channel(reactor, self.ours, self.received, self.lost)
        self.addCleanup(self.channel.close)

    def received(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        self.heard.append(message)
        self.arrived.put(message)

    def lost(self, why: str) -> None:
        self.reasons.append(why)
        self.over.callback(why)

    def say(self, *messages: Message) -> None:
        """Send messages from the other end."""
        for message in messages:
            self.theirs.send(encode(message))

    def fill(self) -> list[Held]:
        """Send messages with C{sent} callbacks until the system takes no more. @return: all messages."""
        messages: list[Held] = []
        while len(self.sent) == len(messages):
            number = len(messages)
            messages.append(Held(number.to_bytes(2, "big") * 20000))
            self.channel.send(messages[-1], sent=lambda number=number: self.sent.append(number))  # type: ignore[misc]
        return messages


class SendTests(ChannelCase):
    """Channel.send."""

    def test_at_once(self) -> None:
        """A message with descriptors is sent at once."""
        pipe = self.pipe()
        self.channel.send(Socket(1, "a", True), pipe[0], sent=lambda: self.sent.append(1))
        self.assertEqual([1], self.sent)
        message, descriptors = receive(self.theirs)
        self.assertEqual((Socket(1, "a", True), 1), (message, len(descriptors)))
        os.write(pipe[1], b"y")
        self.assertEqual(b"y", os.read(descriptors[0], 9))
        close_all((*pipe, *descriptors))

    async def test_full(self) -> None:
        """Messages that the system does not take wait, in their order. C{sent} says when it has taken one."""
        messages = self.fill()
        self.assertEqual(len(messages) - 1, len(self.sent))
        pipe = self.pipe()
        self.channel.send(Socket(1, "last"), pipe[0], sent=lambda: self.sent.append(len(messages)))
        await in_thread(int)
        self.assertEqual(len(messages) - 1, len(self.sent))
        for message in messages:
            self.assertEqual((message, []), await in_thread(receive, self.theirs))
        last, descriptors = await in_thread(receive, self.theirs)
        self.assertEqual(Socket(1, "last"), last)
        self.assertEqual([*range(len(messages) + 1)], self.sent)
        self.assertEqual(1, len(descriptors))
        close_all((*pipe, *descriptors))
        self.assertNotIn(self.channel, reactor.getWriters())

    async def test_gone(self) -> None:
        """A message to a closed end is dropped, and the reader reports the end."""
        self.theirs.close()
        self.channel.send(Offered(), sent=lambda: self.sent.append(1))
        self.assertEqual(ENDED, await self.over)
        self.assertEqual([], self.sent)
        self.channel.send(Offered(), sent=lambda: self.sent.append(2))
        self.assertEqual([], self.sent)

    async def test_gone_while_waiting(self) -> None:
        """Messages that wait are dropped when the other end is closed."""
        count = len(self.fill())
        self.theirs.close()
        self.assertEqual(ENDED, await self.over)
        self.assertEqual([ENDED], self.reasons)
        self.assertEqual(count - 1, len(self.sent))
        self.assertNotIn(self.channel, reactor.getWriters())

    def test_write_error(self) -> None:
        """An end that is found when writing is left to the reader."""
        self.fill()
        self.theirs.close()
        self.channel.doWrite()
        self.assertEqual([], self.reasons)
        self.assertNotIn(self.channel, reactor.getWriters())


class FinishTests(ChannelCase):
    """Channel.finish: the last message."""

    def test_at_once(self) -> None:
        """The channel is closed when the message is sent."""
        self.channel.finish(Committed())
        self.assertEqual(-1, self.ours.fileno())
        self.assertEqual((Committed(), []), receive(self.theirs))
        self.assertEqual((None, []), receive(self.theirs))

    async def test_full(self) -> None:
        """It waits behind messages that wait, also when nothing more is read."""
        messages = self.fill()
        self.channel.end_reading()
        self.channel.finish(Committed())
        self.assertNotEqual(-1, self.ours.fileno())
        for message in (*messages, Committed(), None):
            self.assertEqual((message, []), await in_thread(receive, self.theirs))
        self.assertEqual([], self.reasons)

    def test_gone(self) -> None:
        """If the other end is closed, so is this one."""
        self.theirs.close()
        self.channel.end_reading()
        self.channel.finish(Committed())
        self.assertEqual(-1, self.ours.fileno())
        self.channel.finish(Committed())


class ReadTests(ChannelCase):
    """Messages from the other end."""

    async def test_many(self) -> None:
        """More messages than one batch come in their order."""
        count = 2 * BATCH + 1
        self.say(*(Took(number) for number in range(count)))
        for number in range(count):
            self.assertEqual(Took(number), await self.arrived.get())

    def test_batch(self) -> None:
        """The reactor serves other sockets after a batch."""
        self.say(*(Took(number) for number in range(BATCH + 1)))
        self.channel.doRead()
        self.assertEqual(BATCH, len(self.heard))

    async def test_end(self) -> None:
        """Messages before the end are read, then the end is reported once."""
        self.say(Took(1), Took(2))
        self.theirs.close()
        self.assertEqual(ENDED, await self.over)
        self.assertEqual([Took(1), Took(2)], self.heard)
        self.assertEqual([ENDED], self.reasons)
        self.assertEqual(-1, self.ours.fileno())

    async def test_end_unread(self) -> None:
        """If the other process has ended without reading all, its own messages are read nevertheless."""
        self.channel.send(Offered())
        self.say(Took(1), Took(2))
        self.theirs.close()
        self.assertEqual(ENDED, await self.over)
        self.assertEqual([Took(1), Took(2)], self.heard)

    def test_connection_lost(self) -> None:
        """The reactor finds the end, and messages that have arrived are read before it is reported."""
        self.say(Took(1))
        reactor.removeReader(self.channel)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(([Took(1)], [ENDED]), (self.heard, self.reasons))

    async def test_bad(self) -> None:
        """Bytes of another protocol end the channel with a reason."""
        self.theirs.send(b"\xc1")
        self.assertIn("not a message of this protocol", await self.over)
        self.assertEqual(-1, self.ours.fileno())

    async def test_error(self) -> None:
        """An error of the system ends the channel with its text."""

        def fail(sock: socket.socket) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(channel, "receive", fail)
        self.say(Took(1))
        self.assertEqual("cannot read from the other process: Input/output error", await self.over)

    async def test_closed_meanwhile(self) -> None:
        """The user of a channel may close it when a message comes: no other follows."""

        def received(message: Message, descriptors: list[int]) -> None:
            self.heard.append(message)
            self.channel.close()

        self.channel._received = received
        self.say(Took(1), Took(2))
        self.channel.doRead()
        self.assertEqual(([Took(1)], []), (self.heard, self.reasons))


class EndReadingTests(ChannelCase):
    """Channel.end_reading: what the other process says from now on is not heard, and it knows that."""

    def test_messages(self) -> None:
        """Messages that have arrived are handled; a later one cannot be sent."""
        self.say(Took(1), Took(2))
        self.channel.end_reading()
        self.assertEqual([Took(1), Took(2)], self.heard)
        self.assertRaises(OSError, self.say, Took(3))

    def test_send(self) -> None:
        """The other process still gets messages."""
        self.channel.end_reading()
        self.assertEqual([], self.reasons)
        self.channel.send(Committed())
        self.assertEqual((Committed(), []), receive(self.theirs))

    async def test_quiet(self) -> None:
        """The channel looks for no messages again, and reports no end."""
        self.channel.end_reading()
        self.assertNotIn(self.channel, reactor.getReaders())
        self.theirs.close()
        await in_thread(int)
        self.channel.end_reading()
        self.assertEqual([], self.reasons)
        self.channel.send(Committed())

    def test_closed(self) -> None:
        """Nothing happens if the channel is closed."""
        self.channel.close()
        self.channel.end_reading()
        self.channel.close()
        self.assertEqual([], self.reasons)
