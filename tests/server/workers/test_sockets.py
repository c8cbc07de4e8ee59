"""Tests for sniproxy.server.workers.sockets."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from sniproxy.net.synfilter import ignore_new
from sniproxy.server.workers.handover import Sockets
from sniproxy.server.workers.sockets import KeptSockets, SocketChannel, available, from_environment
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase


class SocketsTests(SocketTestCase):
    """Sockets between a worker, its supervisor and the next worker."""

    if not available:
        skip = "descriptors are handed over on Linux"

    def started(self, kept: KeptSockets) -> SocketChannel:
        """A worker's channel, as in a started process."""
        environment, descriptors, theirs = kept.open_channel(40)
        copies = {number: os.dup(ours) for number, ours in descriptors.items()}
        theirs.close()
        # In the test's own process the numbers are those that were free.
        for number, copy in copies.items():
            environment = {name: text.replace(str(number), str(copy)) for name, text in environment.items()}
        environment["HOME"] = "/"
        channel = from_environment(environment)
        assert channel is not None
        self.assertEqual({"HOME": "/"}, environment)
        self.addCleanup(channel._channel.close)
        return channel

    def test_none(self) -> None:
        """Without a supervisor there is no channel."""
        self.assertIsNone(from_environment({}))

    def test_handed_on(self) -> None:
        """The next worker gets the backlog of a killed one and new clients, but no forgotten socket."""
        kept = KeptSockets(reactor)
        first = self.started(kept)
        self.assertIsNone(first.take("tcp:1"))
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            address = one.getsockname()
            first.keep("tcp:1", other)
            first.keep("tcp:1", one)
            first.keep("tcp:2", other)
            first.forget("tcp:2")
            ignore_new(one)
        kept.close_channel()
        self.assertEqual(1, len(kept))
        next_one = self.started(kept)
        sock = next_one.take("tcp:1")
        assert sock is not None
        self.assertEqual((address, None), (sock.getsockname(), next_one.take("tcp:1")))
        with socket.create_connection(address, timeout=TIMEOUT_S):
            sock.accept()[0].close()
        sock.close()
        kept.close_channel()
        kept.release()
        self.assertEqual(0, len(kept))

    def test_not_taken(self) -> None:
        """A socket without a listener is closed in all processes."""
        kept = KeptSockets(reactor)
        first = self.started(kept)
        with socket.create_server(("127.0.0.1", 0)) as one:
            address = one.getsockname()
            first.keep("tcp:1", one)
        kept.close_channel()
        self.started(kept).forget_rest()
        kept.close_channel()
        self.assertEqual(0, len(kept))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)

    def test_supervisor_has_ended(self) -> None:
        """A worker that outlives its supervisor works on."""
        kept = KeptSockets(reactor)
        channel = self.started(kept)
        kept.close_channel()
        with socket.create_server(("127.0.0.1", 0)) as one:
            channel.keep("tcp:1", one)
        channel.forget("tcp:1")

    def test_sent(self) -> None:
        """The supervisor can send a worker a socket, which other programs do not inherit."""
        kept = KeptSockets(reactor)
        channel = self.started(kept)
        with socket.create_server(("127.0.0.1", 0)) as one:
            kept.send(one)
            with channel.receive() as copy:
                self.assertEqual(one.getsockname(), copy.getsockname())
                self.assertFalse(copy.get_inheritable())
        self.assertRaises(BlockingIOError, channel.receive)
        kept.close_channel()

    def test_not_sent(self) -> None:
        """A socket for a worker that has ended, and one that does not arrive, are errors."""
        kept = KeptSockets(reactor)
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.assertEqual(errno.EPIPE, self.assertRaises(OSError, kept.send, one).errno)
        channel = self.started(kept)
        kept.close_channel()  # an end, and no message
        self.assertEqual(errno.EMFILE, self.assertRaises(OSError, channel.receive).errno)

    def test_worker_has_ended(self) -> None:
        """The reactor reads the channel until the worker closes it."""
        kept = KeptSockets(reactor)
        channel = self.started(kept)
        with socket.create_server(("127.0.0.1", 0)) as one:
            channel.keep("tcp:1", one)
        self.assertIsNone(kept.doRead())
        channel._channel.close()
        self.assertIs(CONNECTION_DONE, kept.doRead())
        kept.connectionLost(Failure(CONNECTION_DONE))
        kept.close_channel()
        kept.release()

    def test_adopted(self) -> None:
        """Another program continues with the sockets and the channel."""
        first = KeptSockets(reactor)
        channel = self.started(first)
        with socket.create_server(("127.0.0.1", 0)) as one:
            channel.keep("tcp:1", one)
            first.doRead()
            reactor.removeReader(first)
            sockets = first.hand_over()
            # As execve(2): the objects are gone, and the descriptors are open.
            assert first._channel is not None
            first._channel.detach()
            first._sockets.pop("tcp:1").detach()
            for number in (sockets.channel or -1, *sockets.kept.values()):
                os.set_inheritable(number, True)
            second = KeptSockets(reactor)
            self.addCleanup(second.release)
            self.addCleanup(second.close_channel)
            second.adopt(sockets)
            self.assertEqual((sockets, 1), (second.hand_over(), len(second)))
            for number in (sockets.channel or -1, *sockets.kept.values()):
                self.assertFalse(os.get_inheritable(number))
            channel.forget("tcp:1")
            second.doRead()
            self.assertEqual(0, len(second))

    def test_adopted_without_worker(self) -> None:
        """The sockets of a worker that is to be started again."""
        one = KeptSockets(reactor)
        one.adopt(Sockets(None, {}))
        self.assertEqual(Sockets(None, {}), one.hand_over())
