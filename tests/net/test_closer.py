"""Closing sockets in order."""

from __future__ import annotations

import socket
from typing import Any

from sniproxy.net.closer import LINGER_TIMEOUT_S, MAX_LINGER_BYTES, LingeringCloser
from sniproxy.net.tlssocket import TLSSocket
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import FullClock, HandClock, SocketTestCase, connected, in_thread, read_to_end, reset
from tests.tls.material import FarTLS, tls_pair


class CloserTests(SocketTestCase):
    """The last bytes reach the peer."""

    async def test_last_words_despite_unread_bytes(self) -> None:
        """A peer with unread bytes gets the last bytes and a FIN, no reset."""
        closer = LingeringCloser(reactor)
        theirs, ours = connected()
        theirs.sendall(b"unread" * 1000)
        closer(ours, b"alert")
        self.assertEqual(b"alert", await in_thread(read_to_end, theirs))
        theirs.close()
        await closer.settled()

    async def test_last_words_despite_a_long_hello(self) -> None:
        """A peer that sends 400 KiB, more than the longest hello, gets the last bytes and a FIN."""
        closer = LingeringCloser(reactor)
        theirs, ours = connected()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # as a link does that is slower than loopback
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)

        def talk() -> bytes:
            theirs.sendall(bytes(400 * 1024))
            return read_to_end(theirs)

        talking = in_thread(talk)
        closer(ours, b"alert")
        self.assertEqual(b"alert", await talking)
        theirs.close()
        await closer.settled()

    async def test_no_room(self) -> None:
        """A socket that the system cannot watch is closed at once, behind the last bytes."""
        clock = FullClock()
        closer = LingeringCloser(as_reactor(clock))
        theirs, ours = connected()
        closer(ours, b"alert")
        self.assertEqual(b"alert", await in_thread(read_to_end, theirs))
        await closer.settled()
        self.assertEqual((0, []), (len(closer), clock.getDelayedCalls()))
        theirs.close()

    async def test_peer_that_stays(self) -> None:
        """A peer that sends no FIN is closed after a second; sockets of the same second share a timer."""
        clock = HandClock()
        closer = LingeringCloser(as_reactor(clock))
        (theirs, ours), (other, ours_too) = connected(), connected()
        closer(ours)
        closer(ours_too)
        self.assertEqual(1, len(clock.getDelayedCalls()))
        settled = closer.settled()
        clock.advance(LINGER_TIMEOUT_S - 0.01)
        self.assertFalse(settled.called)
        clock.advance(0.01)
        await settled
        theirs.close()
        other.close()

    async def test_peer_that_goes_on_sending(self) -> None:
        """A peer that keeps sending is closed after a limit of bytes."""
        closer = LingeringCloser(reactor)
        theirs, ours = connected()
        closer(ours)
        await self.assertFailure(in_thread(theirs.sendall, bytes(200 * MAX_LINGER_BYTES)), ConnectionError)
        theirs.close()
        await closer.settled()

    async def test_peer_that_has_gone(self) -> None:
        """A peer that has already disconnected raises nothing."""
        closer = LingeringCloser(reactor)
        theirs, ours = connected()
        reset(theirs)
        closer(ours, b"alert")
        await closer.settled()

    async def test_not_in_this_round(self) -> None:
        """A socket is closed at the end of the reactor's round, so that its number is not reused before."""
        closer = LingeringCloser(reactor)
        (theirs, ours), (other, reset_by_us) = connected(), connected()
        closer.close(ours)
        closer.abort(reset_by_us)
        self.assertEqual((2, False), (len(closer), -1 in (ours.fileno(), reset_by_us.fileno())))
        await closer.settled()
        self.assertEqual((0, -1, -1), (len(closer), ours.fileno(), reset_by_us.fileno()))
        self.assertEqual(b"", theirs.recv(1))
        self.assertRaises(ConnectionResetError, other.recv, 1)
        theirs.close()
        other.close()

    async def test_close_now(self) -> None:
        """Open sockets can be closed at once."""
        closer = LingeringCloser(reactor)
        pairs = [connected() for _ in range(3)]
        for _, ours in pairs:
            closer(ours)
        closer.close_now()
        await closer.settled()
        for theirs, _ in pairs:
            theirs.close()

    async def test_later(self) -> None:
        """A socket that comes after that, as from the relay engine, is closed at once, too, behind its last bytes."""
        clock: Any = HandClock()
        closer = LingeringCloser(clock)
        closer.close_now()
        theirs, ours = connected()
        closer(ours, b"last")
        await closer.settled()
        self.assertEqual(b"last", await in_thread(read_to_end, theirs))
        theirs.close()

    async def test_what_tls_has_encrypted(self) -> None:
        """Encrypted bytes that did not fit into the socket are sent first, even if the peer has sent a FIN."""
        for peer_ends in (False, True):
            closer = LingeringCloser(reactor)
            far, ours = tls_pair(65536, "target")
            assert isinstance(ours, TLSSocket)
            sent = 0
            while not ours.waiting:
                sent += ours.send(bytes(65536))
            if peer_ends:
                far.shutdown(socket.SHUT_WR)
            closer(ours)
            self.assertEqual(sent, len(await in_thread(read_to_end, far)))
            assert isinstance(far, FarTLS)
            self.assertFalse(far.cut)
            far.close()
            await closer.settled()

    async def test_tls_peer_that_goes_on_sending(self) -> None:
        """A TLS peer that keeps sending is closed after the limit, for any record size."""
        closer = LingeringCloser(reactor)
        far, ours = tls_pair(0, "client")
        closer(ours)
        await self.assertFailure(in_thread(send_records, far, 200 * MAX_LINGER_BYTES), ConnectionError)
        far.close()
        await closer.settled()


def send_records(far: socket.socket, count: int) -> None:
    """Send this many bytes in records of a size that does not divide the limit."""
    for _ in range(0, count, 15_000):
        far.sendall(bytes(15_000))
