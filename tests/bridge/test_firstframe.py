"""Waiting for a client's first frame."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.bridge.firstframe import MAX_FRAME_BYTES, FirstFrame, NotConnect
from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode
from sniproxy.util.buffered import BufferAccount
from tests.support.hellos import hello
from tests.support.reactor import reactor
from tests.support.sockets import HandClock, SocketTestCase, connected, in_thread, reset

CONNECT = write(pb.CommandConnect(client_version="c", proxy_to_broker_url="b.test:6651"))
PING = write(pb.CommandPing())


class FirstFrameTests(SocketTestCase):
    """FirstFrame."""

    def stage(self, clock: Any = reactor) -> tuple[socket.socket, FirstFrame]:
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, FirstFrame(clock, ours, 5.0, BufferAccount())

    async def refused(self, *pieces: bytes) -> NotConnect:
        far, stage = self.stage()
        await in_thread(self.send, far, pieces)
        try:
            await stage.first()
        except NotConnect as error:
            self.assertNotIn(stage, reactor.getReaders())
            return error
        raise self.failureException("it was taken")

    def send(self, far: socket.socket, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            far.sendall(piece)

    async def test_connect(self) -> None:
        """CONNECT is read whole or byte by byte; later bytes of the same read are kept."""
        for pieces in ([CONNECT + PING], [CONNECT[at : at + 1] for at in range(len(CONNECT))]):
            far, stage = self.stage()
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sending = in_thread(self.send, far, pieces)
            connect = await stage.first()
            await sending
            self.assertEqual("b.test:6651", connect.proxy_to_broker_url)
            self.assertTrue(b"".join(pieces).startswith(bytes(stage.received)))
            self.assertIn(CONNECT, bytes(stage.received))

    async def test_foreign(self) -> None:
        """TLS, HTTP, PROXY protocol headers and other bytes are distinguished."""
        error = await self.refused(hello())
        self.assertIn("use a pulsar:// service URL", str(error))
        self.assertTrue(error.speaks_tls)
        self.assertIn("HTTP", str(await self.refused(b"GET / HTTP/1.1\r\n\r\n")))
        for header in (b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"):
            self.assertIn("turn off send-proxy", str(await self.refused(header)))
        self.assertIn("not a Pulsar frame", str(await self.refused(b"SSH-2.0-x\r\n\r\n")))

    async def test_another_frame(self) -> None:
        """Another Pulsar frame, an unreadable one and one that is too long are refused."""
        error = await self.refused(PING)
        self.assertIn("the first frame is PING, not CONNECT", str(error))
        self.assertTrue(error.speaks_pulsar)
        self.assertTrue((await self.refused(encode(b"\x08\x02\x12\x00"))).speaks_pulsar)
        self.assertIn("over the limit", str(await self.refused((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(4))))

    async def test_gone(self) -> None:
        """A client that disconnects or resets is reported as gone."""
        for leave in (socket.socket.close, reset):
            far, stage = self.stage()
            far.sendall(CONNECT[:5])
            leave(far)
            await self.assertFailure(Deferred.fromCoroutine(_wait(stage)), ClientGone)

    async def test_deadline(self) -> None:
        """A silent client fails at the deadline."""
        clock = HandClock()
        _, stage = self.stage(clock)
        waiting = Deferred.fromCoroutine(_wait(stage))
        clock.advance(5)
        await self.assertFailure(waiting, ReadTimeout)

    async def test_cancel(self) -> None:
        """A cancelled wait leaves the reactor."""
        _, stage = self.stage()
        waiting = stage.first()
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        await waiting
        self.assertNotIn(stage, reactor.getReaders())


async def _wait(stage: FirstFrame) -> object:
    return await stage.first()
