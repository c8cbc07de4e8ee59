"""The two ends of the soak test's tunnels. A seed determines the bytes of each end, so that every byte can be checked.

After its ClientHello a client sends a `Plan`, which both ends follow. Wrong or additional bytes raise `Lost`; a tunnel
that does not end as planned raises `Cut`.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from threading import Event, Thread

from attrs import frozen

PERIOD = 1_048_573
"""Bytes after which a stream repeats: a prime, so that the loss of a whole buffer is detected."""

TIMEOUT_S = 120.0
"""Seconds that an end waits for the other."""

_BLOCK = random.Random(60).randbytes(PERIOD)
_TWICE = memoryview(_BLOCK * 2)
_PLAN = struct.Struct("!BIQQ")
_MOST = 256 * 1024

KINDS = ("both", "reply", "server_first", "echo", "client_resets", "server_resets", "slow", "idle")
"""Kinds of tunnels: both ends send at once; the server answers after the client's FIN; the client continues after the
server's FIN; small messages; one end resets midway; the client reads slowly; idle, then small messages."""


class Lost(Exception):
    """Bytes differ from those that were sent, or there are too many: always a fault."""


class Cut(Exception):
    """A tunnel did not end as planned, with correct bytes: a fault unless the other end was killed."""


@frozen
class Plan:
    """The course of a tunnel. ``kind``: one of `KINDS`; ``up`` and ``down``: bytes that each end sends."""

    kind: str
    seed: int
    up: int
    down: int

    def pack(self) -> bytes:
        """The plan as bytes."""
        return _PLAN.pack(KINDS.index(self.kind), self.seed, self.up, self.down)

    @classmethod
    def draw(cls, chance: random.Random) -> Plan:
        """A random plan: sizes from a byte to a few MB, most of them small."""
        kind = chance.choice(KINDS)
        # An end that resets sends all its bytes first, and the other may do the same: they must fit into buffers.
        most = {"slow": 8, "idle": 8, "echo": 8, "client_resets": 15}.get(kind, 23)
        up, down = (int(2 ** chance.uniform(0, most)) for _ in range(2))
        if kind == "slow":
            down = chance.randrange(1 << 19, 1 << 21)
        return cls(kind, chance.getrandbits(32), up, down)


@frozen
class Tunnel:
    """What a client saw: its own port, bytes written (the hello too) and read, when it was done (`time.monotonic`).

    ``whole``: it came to an end at which both ends have all.
    """

    port: int
    up: int
    down: int
    whole: bool
    ended: float


def client_hello(name: str) -> bytes:
    """A ClientHello from OpenSSL with this server name."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    half = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Source:
    """The bytes of a seed and a direction: to send, or to compare with received bytes."""

    def __init__(self, seed: int, direction: str) -> None:
        self._at = (seed * 2 + (direction == "up")) * 7919 % PERIOD
        self.count = 0

    def take(self, most: int) -> memoryview:
        """The next bytes."""
        part = _TWICE[self._at : self._at + most]
        self._at = (self._at + most) % PERIOD
        self.count += most
        return part

    def check(self, data: memoryview) -> None:
        """Raises `Lost` if the next bytes differ."""
        where, at = self.count, self._at
        right = self.take(len(data))
        if right != data:
            first = next(i for i in range(len(data)) if data[i] != right[i])
            said = _whence(bytes(data[first : first + 16]), at + first)
            raise Lost(f"bytes {where} to {self.count} are not those that were sent: from {where + first} on {said}")


def _whence(data: bytes, at: int) -> str:
    """Where unexpected bytes belong in the stream, which shows whether bytes were lost or duplicated."""
    found = (_BLOCK + _BLOCK[: len(data)]).find(data)
    if found < 0:
        return f"they are {data.hex()}, which nobody sends"
    later = (found - at) % PERIOD
    return f"they are those that belong {later} bytes behind, or {PERIOD - later} before"


class _End:
    """One end of a tunnel."""

    def __init__(self, sock: socket.socket, plan: Plan, sends: str) -> None:
        self.sock = sock
        self.plan = plan
        receives = "down" if sends == "up" else "up"
        self._out, self._in = Source(plan.seed, sends), Source(plan.seed, receives)
        self._room = memoryview(bytearray(_MOST))
        self._to_send = plan.up if sends == "up" else plan.down
        self._to_come = plan.down if sends == "up" else plan.up

    @property
    def sent(self) -> int:
        return self._out.count

    @property
    def received(self) -> int:
        return self._in.count

    def send(self, count: int) -> None:
        while count:
            part = min(count, _MOST)
            self.sock.sendall(self._out.take(part))
            count -= part

    def send_all(self, end: bool = True) -> None:
        """Send all bytes of the plan, then a FIN."""
        self.send(self._to_send)
        if end:
            self.sock.shutdown(socket.SHUT_WR)

    def receive(self, count: int, pause: float = 0) -> None:
        """Receive ``count`` bytes. ``pause``: seconds before each read."""
        while count:
            if pause:
                Event().wait(pause)
            got = self.sock.recv_into(self._room, min(count, _MOST))
            if not got:
                raise Cut(f"the stream ended {count} bytes too early, at {self.received}")
            self._in.check(self._room[:got])
            count -= got

    def receive_all(self, pause: float = 0) -> None:
        """Receive all bytes of the plan, then a FIN."""
        self.receive(self._to_come, pause)
        self.receive_end()

    def receive_end(self) -> None:
        if self.sock.recv_into(self._room, 1):
            raise Lost(f"there is more than was sent, behind byte {self.received}")

    def both(self) -> None:
        """Send and receive at once."""
        failures: list[Exception] = []

        def sending() -> None:
            try:
                self.send_all()
            except OSError as error:
                failures.append(error)

        thread = Thread(target=sending)
        thread.start()
        try:
            self.receive_all(0.002 if self.plan.kind == "slow" else 0)
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _messages(plan: Plan) -> list[int]:
    """Sizes of the small messages of a plan."""
    chance = random.Random(plan.seed)
    return [chance.randrange(1, 2048) for _ in range(plan.up)]


def run_client(port: int, hello: bytes, plan: Plan) -> Tunnel:
    """Run a client's end of a tunnel. Raises `Lost` and `Cut`."""
    try:
        return _client(port, hello, plan)
    except OSError as error:
        raise Cut(f"{error}") from None


def _client(port: int, hello: bytes, plan: Plan) -> Tunnel:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        own = sock.getsockname()[1]
        if plan.kind == "slow":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.sendall(hello + plan.pack())
        end = _End(sock, plan, "up")
        whole = True
        if plan.kind in ("both", "slow"):
            end.both()
        elif plan.kind == "reply":
            end.send_all()
            end.receive_all()
        elif plan.kind == "server_first":
            end.receive_all()
            end.send_all()
        elif plan.kind == "client_resets":
            end.send(plan.up)
            end.receive(plan.down // 2)
            end.reset()
            whole = False
        elif plan.kind == "server_resets":
            whole = False
            _until_reset(end, plan.down)
        else:
            if plan.kind == "idle":
                Event().wait(plan.down / 64)  # up to four seconds
            for size in _messages(plan):
                end.send(size)
                end.receive(size)
            sock.shutdown(socket.SHUT_WR)
            end.receive_end()
    return Tunnel(own, len(hello) + _PLAN.size + end.sent, end.received, whole, time.monotonic())


def _until_reset(end: _End, count: int) -> None:
    """Receive at most ``count`` bytes, then a reset. Raises `Cut` if a FIN comes instead."""
    try:
        end.receive(count)
        end.receive_end()
    except ConnectionResetError:
        return
    raise Cut("it ended in place of a reset")


def run_server(sock: socket.socket, hello: int) -> None:
    """Run a server's end of a tunnel. ``hello``: the length of the client's hello. Raises `Lost` and `Cut`."""
    try:
        _exactly(sock, hello)
        kind, seed, up, down = _PLAN.unpack(_exactly(sock, _PLAN.size))
        plan = Plan(KINDS[kind], seed, up, down)
    except OSError:
        return  # the client reports that it was cut
    try:
        _serve(_End(sock, plan, "down"), plan)
    except OSError as error:
        raise Cut(f"{plan}: {error}") from None


def _serve(end: _End, plan: Plan) -> None:
    if plan.kind in ("both", "slow"):
        end.both()
    elif plan.kind == "reply":
        end.receive_all()
        end.send_all()
    elif plan.kind == "server_first":
        end.send_all()
        end.receive_all()
    elif plan.kind == "client_resets":
        end.send(plan.down // 2)
        _until_reset(end, plan.up)
    elif plan.kind == "server_resets":
        end.send(plan.down // 2)
        end.reset()
    else:
        for size in _messages(plan):
            end.receive(size)
            end.send(size)
        end.receive_end()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionAbortedError("a tunnel ended before its plan had come")
        data += more
    return data


def serve(listening: socket.socket, hello: int, told: Callable[[str], None]) -> None:
    """Serve tunnels until the process ends. ``told``: called with each fault."""

    def one(sock: socket.socket) -> None:
        with sock:
            sock.settimeout(TIMEOUT_S)
            try:
                run_server(sock, hello)
            except (Lost, Cut) as error:
                told(f"backend: {error}")

    while True:
        sock, _ = listening.accept()
        Thread(target=one, args=(sock,), daemon=True).start()


def main() -> None:
    """``python -m bench.soakload FD HELLO``: serve on an inherited listening socket, and print faults."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    serve(listening, int(sys.argv[2]), lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
