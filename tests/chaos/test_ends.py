"""The ends of tunnels: what they accept, and what they report."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.ends import Wrong, run_end
from tests.chaos.inside import contexts
from tests.chaos.plan import Manner
from tests.chaos.proxies import NAME, write_certificates
from tests.chaos.streams import Ended, Late, PlainStream, Stream, TLSStream, read_exactly, send_all
from tests.support.sockets import TIMEOUT_S, reset

QUICK = Manner(waits=False, piece=1000, pauses_s=0.0, small_buffer=False)
SLOW = Manner(waits=False, piece=65_536, pauses_s=0.0001, small_buffer=False)
PATIENT = Manner(waits=True, piece=65_536, pauses_s=0.0, small_buffer=False)
DATA = bytes(range(256)) * 1000


def soon() -> float:
    return time.monotonic() + TIMEOUT_S


class PlainTests(SynchronousTestCase):
    """Ends in clear."""

    def setUp(self) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(TIMEOUT_S)
        self.addCleanup(ours.close)
        self.addCleanup(self.peer.close)
        self.stream = PlainStream(ours)

    def test_unequal_byte(self) -> None:
        """A byte that differs is found, wherever it is."""
        for at in (0, 1, 2047, 2048, 9999):
            with self.subTest(at=at):
                self.setUp()
                sent = bytearray(DATA[:10_000])
                sent[at] ^= 1
                self.peer.sendall(sent)
                error = self.assertRaises(Wrong, run_end, self.stream, b"", DATA[:10_000], SLOW, soon())
                self.assertIn(f"byte {at} ", str(error))

    def test_too_many(self) -> None:
        """A byte after the last one is wrong."""
        self.peer.sendall(b"123")
        self.assertRaises(Wrong, run_end, self.stream, b"", b"12", QUICK, soon())

    def test_ended_early(self) -> None:
        """An end before the last byte is reported."""
        self.peer.sendall(b"12")
        self.peer.shutdown(socket.SHUT_WR)
        self.assertRaises(Ended, run_end, self.stream, b"", b"123", QUICK, soon())

    def test_reset(self) -> None:
        """A lost connection is reported."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname(), timeout=TIMEOUT_S)
            self.addCleanup(sock.close)
            reset(listener.accept()[0])
            self.assertRaises(Ended, run_end, PlainStream(sock), b"", b"1", QUICK, soon())

    def test_late(self) -> None:
        """An end gives up at its time."""
        self.assertRaises(Late, run_end, self.stream, b"", b"1", QUICK, time.monotonic())
        self.assertRaises(Late, run_end, self.stream, b"", b"1", QUICK, time.monotonic() + 0.01)

    def test_waits(self) -> None:
        """A patient end sends nothing before the other end has ended its half."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_end, self.stream, b"answer", b"question", PATIENT, soon())
            self.peer.sendall(b"question")
            self.peer.settimeout(0.05)
            self.assertRaises(TimeoutError, self.peer.recv, 1)
            self.peer.settimeout(TIMEOUT_S)
            self.peer.shutdown(socket.SHUT_WR)
            self.assertEqual(b"answer", self.peer.recv(100))
            self.assertEqual(b"", self.peer.recv(100))
            running.result(TIMEOUT_S)


class PairTests(SynchronousTestCase):
    """Two ends with each other."""

    def streams(self, tls: bool) -> tuple[Stream, Stream]:
        client, server = socket.socketpair()
        self.addCleanup(client.close)
        self.addCleanup(server.close)
        if not tls:
            return PlainStream(client), PlainStream(server)
        folder = Path(self.mktemp())
        folder.mkdir()
        write_certificates(folder)
        ours, theirs = contexts(folder)
        one, other = TLSStream(client, ours, NAME), TLSStream(server, theirs, None)
        with ThreadPoolExecutor(2) as pool:
            for running in [pool.submit(each.shake, soon()) for each in (one, other)]:
                running.result(TIMEOUT_S)
        return one, other

    def both(self, tls: bool, ours: Manner, theirs: Manner, change: Callable[[bytes], bytes] = bytes) -> None:
        one, other = self.streams(tls)
        with ThreadPoolExecutor(2) as pool:
            client = pool.submit(run_end, one, DATA, DATA[::-1], ours, soon())
            server = pool.submit(run_end, other, DATA[::-1], change(DATA), theirs, soon())
            client.result(TIMEOUT_S)
            server.result(TIMEOUT_S)

    def test_whole(self) -> None:
        """All bytes and ends come, in clear and by TLS, however the ends behave."""
        for tls in (False, True):
            for ours, theirs in ((QUICK, QUICK), (QUICK, SLOW), (SLOW, QUICK), (PATIENT, QUICK), (QUICK, PATIENT)):
                with self.subTest(tls=tls, ours=ours, theirs=theirs):
                    self.both(tls, ours, theirs)

    def test_cut_tls(self) -> None:
        """An end without TLS's close_notify is no end."""
        one, other = self.streams(tls=True)
        other.sock.close()
        self.assertRaises(Ended, run_end, one, b"", b"", PATIENT, soon())

    def test_exact(self) -> None:
        """What precedes a tunnel's bytes is read and sent exactly."""
        for tls in (False, True):
            one, other = self.streams(tls)
            send_all(one, b"12345", soon())
            self.assertEqual((b"12", b"345"), (read_exactly(other, 2, soon()), read_exactly(other, 3, soon())))
            self.assertRaises(Late, read_exactly, other, 1, time.monotonic())
            self.assertTrue(one.end_half())
            self.assertRaises(Ended, read_exactly, other, 1, soon())

    def test_untrusted(self) -> None:
        """A client refuses a certificate of another authority."""
        client, server = socket.socketpair()
        folder = Path(self.mktemp())
        folder.mkdir()
        write_certificates(folder)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER)
        with ThreadPoolExecutor(2) as pool, client, server:
            one = pool.submit(TLSStream(client, context, NAME).shake, soon())
            other = pool.submit(TLSStream(server, contexts(folder)[1], None).shake, soon())
            self.assertRaises(Ended, one.result, TIMEOUT_S)
            client.close()
            self.assertRaises(Ended, other.result, TIMEOUT_S)
