"""The self-test: checks on real sockets that this kernel forwards correctly, before the proxy relies on it.

It sends bytes through tunnels on loopback, with the code that all tunnels use. It checks that the program finds TCP's
sequence numbers; the order of bytes while windows are used up; a FIN of either side while the other continues; a FIN of
a side for which bytes wait; the bound of what waits for a slow reader; and a reset. It takes a fraction of a second.
"""

from __future__ import annotations

import platform
import random
import re
import socket
import struct
import time
from collections.abc import Callable
from typing import cast

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.kernel.bpf import MACHINE
from sniproxy.relay.kernel.factory import KernelRelayFactory, KernelRelayUnavailable
from sniproxy.relay.kernel.loop import Loop
from sniproxy.relay.relay import Ending
from sniproxy.util.reactor import IReactor

MIN_LINUX = (6, 6)
"""Older versions of Linux reorder and lose bytes of such sockets. A short test cannot show all of that."""

TIMEOUT_S = 10.0
"""Seconds for each wait of a step. On a correct kernel a wait takes milliseconds."""

BUFFER_BYTES = 1 << 16
MAX_QUEUED_BYTES = 4 << 20
"""Bytes that may wait for a reader that does not read: more than the four buffers of a tunnel hold."""


def run() -> None:
    """Run all steps. @raise KernelRelayUnavailable: the kernel is unsuitable, or a step failed."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or release is None or (int(release[1]), int(release[2])) < MIN_LINUX:
        raise KernelRelayUnavailable(f"needs Linux 6.6 or newer; this is {platform.system()} {platform.release()}")
    if platform.machine() != MACHINE:
        raise KernelRelayUnavailable(f"needs an x86-64 machine; this is {platform.machine()}")
    loop = Loop()
    factory = KernelRelayFactory(cast(IReactor, loop), 8)
    try:
        for step in STEPS:
            tunnel = LoopbackTunnel(loop, factory)
            try:
                try:
                    step(tunnel)
                finally:
                    tunnel.close()  # fails if the relay does not end
            except OSError as error:
                raise KernelRelayUnavailable(f"self-test failed in {step.__name__[1:]}: {error}") from error
    finally:
        factory.close()


def _sequence(tunnel: LoopbackTunnel) -> None:
    """The next sequence number advances with the bytes. Otherwise the program would not detect duplicates."""
    tunnel.begin(b"")
    tunnel.send(tunnel.client, b"first")
    tunnel.receive(tunnel.target, bytearray(), 5)
    first = tunnel.pair.client.next_sequence
    tunnel.send(tunnel.client, bytes(10_000))
    tunnel.receive(tunnel.target, bytearray(), 10_000)
    then = tunnel.pair.client.next_sequence
    if first is None or then is None or (then - first) % 2**32 != 10_000:
        raise OSError(f"no TCP sequence number found: {first}, then {then} after 10,000 more bytes")


def _order(tunnel: LoopbackTunnel) -> None:
    """Bytes arrive in order, behind the head, in small and large pieces, both ways at once, through used-up windows."""
    sizes, up, down = random.Random(1), bytearray(b"head"), bytearray()
    tunnel.begin(b"head")
    got_up, got_down = bytearray(), bytearray()
    for _ in range(300):
        for ours, theirs, sent, got in (
            (tunnel.client, tunnel.target, up, got_up),
            (tunnel.target, tunnel.client, down, got_down),
        ):
            piece = sizes.randbytes(sizes.choice((1, 60, 1000, 20_000)))
            sent += piece
            tunnel.send(ours, piece)
            if sizes.random() < 0.2:
                tunnel.receive(theirs, got, len(sent))
    tunnel.receive(tunnel.target, got_up, len(up))
    tunnel.receive(tunnel.client, got_down, len(down))
    _same(up, got_up)
    _same(down, got_down)
    pair = tunnel.pair
    for row in (pair.client, pair.target):
        if not (row.redirected and row.passed):
            raise OSError(f"{row.redirected} bytes redirected and {row.passed} passed; expected some of both")


def _ends(tunnel: LoopbackTunnel) -> None:
    """The target sends bytes and a FIN; then the client does, with its last bytes and the FIN together."""
    tunnel.begin(b"")
    answer, last = random.Random(2).randbytes(300_000), random.Random(3).randbytes(100_000)
    got, late = bytearray(), bytearray()
    tunnel.send(tunnel.target, answer, also=(tunnel.client, got))
    tunnel.target.shutdown(socket.SHUT_WR)
    tunnel.receive(tunnel.client, got, None)
    tunnel.send(tunnel.client, last, also=(tunnel.target, late))
    tunnel.client.shutdown(socket.SHUT_WR)
    tunnel.receive(tunnel.target, late, None)
    _same(answer, got)
    _same(last, late)
    tunnel.until(lambda: tunnel.ending is not None, "the end of both directions")
    if tunnel.ending != Ending(Result.OK):
        raise OSError(f"both directions ended, but the relay reports {tunnel.ending}")


def _waiting(tunnel: LoopbackTunnel) -> None:
    """The client sends a FIN while bytes wait for it in the kernel: the FIN is passed on, and it gets all bytes."""
    tunnel.begin(b"")
    tunnel.pair.target.open_window(1 << 24)  # more than any buffer holds, so that bytes wait
    answer, got = random.Random(5).randbytes(1 << 20), bytearray()
    tunnel.send(tunnel.target, answer)
    tunnel.client.shutdown(socket.SHUT_WR)
    tunnel.receive(tunnel.target, bytearray(), None)
    tunnel.receive(tunnel.client, got, len(answer))
    _same(answer, got)
    tunnel.target.shutdown(socket.SHUT_WR)
    tunnel.until(lambda: tunnel.ending is not None, "the end of both directions")
    if tunnel.ending != Ending(Result.OK):
        raise OSError(f"both directions ended, but the relay reports {tunnel.ending}")


def _bound(tunnel: LoopbackTunnel) -> None:
    """A reader that does not read stops the sender within a bound, and gets all bytes when it reads."""
    tunnel.begin(b"")
    data, sent, got = random.Random(4).randbytes(2 * MAX_QUEUED_BYTES), 0, bytearray()
    still = 0
    while still < 30:  # rounds without a byte, of at least a millisecond each
        try:
            sent += tunnel.client.send(data[sent : sent + BUFFER_BYTES])
            still = 0
        except BlockingIOError:
            still += 1
        if sent > MAX_QUEUED_BYTES:
            raise OSError(f"{sent} bytes accepted for a reader that does not read")
        tunnel.loop.run_once()
    tunnel.send(tunnel.target, b"the other way", also=(tunnel.client, other := bytearray()))
    tunnel.receive(tunnel.client, other, 13)
    tunnel.send(tunnel.client, data[sent:], also=(tunnel.target, got))
    tunnel.receive(tunnel.target, got, len(data))
    _same(data, got)


def _reset(tunnel: LoopbackTunnel) -> None:
    """A reset is passed on as a reset, behind the bytes before it."""
    tunnel.begin(b"")
    tunnel.send(tunnel.client, b"alert")
    got = bytearray()
    tunnel.receive(tunnel.target, got, 5)
    tunnel.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tunnel.client.close()
    tunnel.until(lambda: tunnel.ending is not None, "the reset")
    try:
        tunnel.receive(tunnel.target, got, None)
    except ConnectionResetError:
        return
    raise OSError("a reset was passed on as a FIN")


def _same(sent: bytes | bytearray, got: bytearray) -> None:
    if sent != got:
        place = next((n for n, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b), min(len(sent), len(got)))
        raise OSError(f"{len(sent)} bytes sent, {len(got)} received, first difference at byte {place}")


STEPS = (_sequence, _order, _ends, _waiting, _bound, _reset)


class LoopbackTunnel:
    """Two connections on loopback with a kernel relay between them, all in this thread."""

    def __init__(self, loop: Loop, factory: KernelRelayFactory) -> None:
        self.loop = loop
        self._factory = factory
        self.client, self._relay_client = _connection()
        self.target, self._relay_target = _connection()
        self._closer = LingeringCloser(cast(IReactor, loop))
        self.ending: Ending | None = None
        self._begun = False

    def begin(self, head: bytes) -> None:
        """Start the relay. @param head: bytes that the proxy has read from the client already."""
        relay = self._factory.relay(
            self._relay_client, self._relay_target, head, closer=self._closer, idle=0.0, half_closed=TIMEOUT_S
        )
        if relay is None:
            raise OSError("the kernel refused the sockets")
        self._begun = True
        self._relay, self.pair = relay, relay.pair
        relay.run().addCallback(lambda ending: setattr(self, "ending", ending))

    def send(self, sock: socket.socket, data: bytes, also: tuple[socket.socket, bytearray] | None = None) -> None:
        """Send all of it. @param also: a socket to read from meanwhile, and where its bytes go."""
        view = memoryview(data)

        def sent() -> bool:
            nonlocal view
            if also is not None:
                _take(*also, BUFFER_BYTES)
            try:
                view = view[sock.send(view) :]
            except BlockingIOError:
                pass
            return not view

        self.until(sent, "room in the send buffer")

    def receive(self, sock: socket.socket, got: bytearray, count: int | None) -> None:
        """Read until there are C{count} bytes; None: until a FIN."""
        self.until(
            lambda: (count is not None and len(got) >= count) or (_take(sock, got, BUFFER_BYTES) and count is None),
            "bytes" if count is not None else "a FIN",
        )

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Run the loop until C{done}. @param what: is waited for. @raise OSError: it timed out."""
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            self.loop.run_once()
            if time.monotonic() > deadline:
                raise OSError(f"timed out after {TIMEOUT_S:g} s waiting for {what}")

    def close(self) -> None:
        """Close all sockets and end the relay. @raise OSError: it does not end."""
        for sock in (self.client, self.target):
            sock.close()
        if not self._begun:
            for sock in (self._relay_client, self._relay_target):
                sock.close()
            return
        self._relay.end(Ending(Result.SHUTDOWN))
        try:
            self.until(lambda: self.ending is not None, "the end of the relay")
        finally:
            self._closer.close_now()
            self.loop.advance(0)


def _take(sock: socket.socket, got: bytearray, count: int) -> bool:
    """Read once. @return: whether a FIN was read."""
    try:
        piece = sock.recv(count)
    except BlockingIOError:
        return False
    got += piece
    return not piece


def _connection() -> tuple[socket.socket, socket.socket]:
    """A connection on loopback: the peer's socket, and the relay's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        theirs = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            theirs.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    for sock in (theirs, ours):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return theirs, ours
