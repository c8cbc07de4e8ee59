"""Sockets that speak TLS."""

from __future__ import annotations

import errno
import socket

import trustme
from OpenSSL import SSL

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.relay.relay import Relay
from sniproxy.util.buffered import BufferAccount
from tests.relay import pythonrelay
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, read_to_end, reset
from tests.tls.material import CA, NAME, OTHER_CA, FarTLS, accepting, issued, shake_hands, tls_pair, trust


class FullAtTheEnd(TLSSocket):
    """A socket without room when it is shut down."""

    full = False

    def shutdown(self, how: int, /) -> None:
        self.full = True
        super().shutdown(how)
        self.full = False

    def _push(self) -> None:
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "no room")
        super()._push()


class TLSContractTests(pythonrelay.PythonRelayContract):
    """The contract of a relay, with TLS on both sides."""

    sees_answer = False

    def pair(self, buffers: int, side: str) -> tuple[socket.socket, socket.socket]:
        return tls_pair(buffers, side)

    async def test_a_cut_stays_a_cut(self) -> None:
        """A side that ends without close_notify ends the other side without it, too; with it, with it."""
        for cut in (True, False):
            tunnel = self.tunnel()
            assert isinstance(tunnel.client, FarTLS)
            tunnel.client.sendall(b"half a mess")
            if cut:
                socket.socket.shutdown(tunnel.client, socket.SHUT_WR)
            else:
                tunnel.client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"half a mess", await in_thread(read_to_end, tunnel.upstream))
            assert isinstance(tunnel.upstream, FarTLS)
            self.assertEqual(cut, tunnel.upstream.cut)
            tunnel.close()
            self.assertEqual(Result.OK, (await tunnel.done).result)

    async def test_no_room_for_the_end(self) -> None:
        """A close_notify that finds no room is sent when there is some."""
        client, ours = tls_pair(0, "client")
        ours.__class__ = FullAtTheEnd
        far, upstream = tls_pair(0, "target")
        relay = Relay(
            reactor,
            ours,
            upstream,
            b"",
            closer=LingeringCloser(reactor),
            idle=300.0,
            half_closed=60.0,
            account=BufferAccount(),
        )
        done = relay.run()
        far.sendall(b"last")
        far.shutdown(socket.SHUT_WR)
        self.assertEqual(b"last", await in_thread(read_to_end, client))
        assert isinstance(client, FarTLS)
        self.assertFalse(client.cut)
        self.assertTrue(relay.half_closed)
        client.close()
        self.assertEqual(Result.OK, (await done).result)
        far.close()

    async def test_no_tls_any_more(self) -> None:
        """Bytes that are not TLS end the tunnel; the record has OpenSSL's reason."""
        tunnel = self.tunnel()
        assert isinstance(tunnel.client, FarTLS)
        socket.socket.sendall(tunnel.client, b"GET / HTTP/1.1\r\n\r\n")
        ending = await tunnel.done
        self.assertEqual(Result.RESET, ending.result)
        self.assertIn("the client's connection was lost: ", ending.reason)


class TLSSocketTests(SocketTestCase):
    """A single socket."""

    def pair(self) -> tuple[FarTLS, TLSSocket]:
        far, ours = tls_pair(0, "target")
        assert isinstance(far, FarTLS)
        assert isinstance(ours, TLSSocket)
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, ours

    def test_what_came_before(self) -> None:
        """Bytes that TLS got before the first read are received, although the socket has none."""
        theirs, sock = connected()
        client, server = trust().connection(NAME), accepting(issued(NAME))
        shake_hands(client, server)
        server.send(b"early")
        ours = TLSSocket(sock, client, server.bio_read(65536))
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.assertEqual(b"early", ours.recv(65536))
        self.assertRaises(BlockingIOError, ours.recv, 65536)

    def test_part_of_a_record(self) -> None:
        """A record is received when it is complete."""
        far, ours = self.pair()
        far.tls.send(b"whole")
        record = far.tls.bio_read(65536)
        for at in range(len(record) - 1):
            socket.socket.sendall(far, record[at : at + 1])
            self.assertRaises(BlockingIOError, ours.recv, 65536)
        socket.socket.sendall(far, record[-1:])
        self.assertEqual(b"whole", ours.recv(65536))

    def test_small_size(self) -> None:
        """A read of few bytes goes on until a record is whole."""
        far, ours = self.pair()
        far.sendall(b"whole")
        self.assertEqual(b"whole", ours.recv(1))

    def test_no_room(self) -> None:
        """Bytes that do not fit into the socket wait, and no more are accepted; an empty send tries again."""
        far, ours = self.pair()
        sent = 0
        while not ours.waiting:
            sent += ours.send(bytes(65536))
        self.assertRaises(BlockingIOError, ours.send, b"more")
        self.assertTrue(0 < ours.waiting < 70_000)
        got = 0
        while got < sent:
            got += len(far.recv(65536))
            if ours.waiting:
                try:
                    ours.send(b"")
                except BlockingIOError:
                    pass
        self.assertEqual((sent, 0), (got, ours.waiting))

    def test_answers_are_bounded(self) -> None:
        """A peer that causes TLS replies and does not read them fails the connection."""
        far, ours = self.pair()
        ours._out += bytes(1 << 23)  # more than the kernel takes
        far.sendall(b"x")
        error = self.assertRaises(OSError, ours.recv, 65536)
        self.assertEqual(errno.ENOBUFS, error.errno)

    def test_ended(self) -> None:
        """After the peer's close_notify nothing is received."""
        far, ours = self.pair()
        far.sendall(b"last")
        far.shutdown(socket.SHUT_WR)
        self.assertEqual((b"last", True, False), (ours.recv(65536), ours.over, ours.cut))
        self.assertEqual(b"", ours.recv(65536))

    def test_after_the_end(self) -> None:
        """After this side has ended, nothing can be sent; ending the reading side alone says nothing to the peer."""
        far, ours = self.pair()
        ours.shutdown(socket.SHUT_RD)
        self.assertEqual(5, ours.send(b"still"))
        self.assertEqual(b"still", far.recv(65536))
        ours.shutdown(socket.SHUT_WR)
        error = self.assertRaises(OSError, ours.send, b"more")
        self.assertEqual((errno.EPIPE, "protocol is shutdown"), (error.errno, error.strerror))
        self.assertEqual((b"", False), (far.recv(65536), far.cut))


class HandshakeTests(SocketTestCase):
    """do_handshake and feed: a handshake step by step."""

    def sides(self, ca: trustme.CA = CA) -> tuple[socket.socket, SSL.Connection, TLSSocket]:
        """The far socket, its server's half with a certificate of this authority, and our client."""
        far, sock = connected()
        ours = TLSSocket(sock, trust().connection(NAME))
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, accepting(issued(NAME, ca=ca)), ours

    def test_handshake(self) -> None:
        """Each step sends what TLS has to say; the last one says that the handshake is complete."""
        far, server, ours = self.sides()
        self.assertRaises(BlockingIOError, ours.feed)
        self.assertFalse(ours.do_handshake())
        server.bio_write(far.recv(65536))
        self.assertRaises(SSL.WantReadError, server.do_handshake)
        flight = server.bio_read(65536)
        far.sendall(flight)
        self.assertEqual(len(flight), ours.feed())
        self.assertTrue(ours.do_handshake())
        server.bio_write(far.recv(65536))
        server.do_handshake()
        self.assertEqual(NAME.encode(), server.get_servername())

    def test_failed(self) -> None:
        """A failure has TLS's reason, and an alert tells the peer."""
        far, server, ours = self.sides(OTHER_CA)
        ours.do_handshake()
        server.bio_write(far.recv(65536))
        self.assertRaises(SSL.WantReadError, server.do_handshake)
        far.sendall(server.bio_read(65536))
        ours.feed()
        error = self.assertRaises(OSError, ours.do_handshake)
        self.assertEqual((errno.EPROTO, "certificate verify failed"), (error.errno, error.strerror))
        server.bio_write(far.recv(65536))
        self.assertIn("unknown ca", str(self.assertRaises(SSL.Error, server.do_handshake)))

    def test_left(self) -> None:
        """A peer that ends its side, and one that resets the connection."""
        far, _, ours = self.sides()
        far.close()
        self.assertEqual(0, ours.feed())
        far, _, ours = self.sides()
        reset(far)
        self.assertRaises(ConnectionResetError, ours.feed)
