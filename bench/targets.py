"""The servers behind the proxies, each in a process of its own. They speak no TLS.

Each drops the hello of a connection. Then ``echo`` sends back all bytes. ``sink`` drops them, and answers a FIN with
their number. ``first`` answers the hello with one byte, and a FIN with a FIN. ``digest`` answers a FIN with the SHA-256
of the bytes, followed by more bytes.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import select
import socket
import ssl
from collections.abc import Callable
from random import Random

_CHUNK_BYTES = 1 << 18
_room = bytearray(_CHUNK_BYTES)
_context = multiprocessing.get_context("spawn")

COUNT = 8
"""Bytes of `sink`'s answer."""

AFTERWARDS = Random(7).randbytes(4_000_000)
"""What `digest` sends after the digest: more than a socket's buffers hold."""


def client_hello(name: str) -> bytes:
    """A ClientHello for this name, from this Python's OpenSSL."""
    taken, given = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(taken, given, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return given.read()


class Target:
    """A server of one of `KINDS`, whose clients send hellos of ``hello`` bytes."""

    def __init__(self, kind: str, hello: int) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._sock.getsockname()[1]
        self._process = _context.Process(target=serve, args=(self._sock, kind, hello), daemon=True)
        self._process.start()

    def stop(self) -> None:
        """End its process."""
        self._sock.close()
        self._process.kill()
        self._process.join()


class _Served:
    """One connection. ``missing``: bytes of the hello that have not arrived."""

    __slots__ = ("hashed", "missing", "received", "sock")

    def __init__(self, sock: socket.socket, hello: int) -> None:
        self.sock = sock
        self.missing = hello
        self.received = 0
        self.hashed = hashlib.sha256()


def _echo(served: _Served) -> bool:
    taken = served.sock.recv_into(_room)
    # A client has at most one small message in flight, which the socket's buffer always takes.
    return bool(taken) and served.sock.send(memoryview(_room)[:taken]) == taken


def _sink(served: _Served) -> bool:
    # MSG_TRUNC: TCP drops them without a copy.
    taken = served.sock.recv_into(_room, _CHUNK_BYTES, socket.MSG_TRUNC)
    served.received += taken
    if not taken:
        served.sock.send(served.received.to_bytes(COUNT, "big"))
    return bool(taken)


def _first(served: _Served) -> bool:
    return bool(served.sock.recv_into(_room))


def _digest(served: _Served) -> bool:
    if taken := served.sock.recv_into(_room):
        served.hashed.update(memoryview(_room)[:taken])
        return True
    served.sock.setblocking(True)
    served.sock.sendall(served.hashed.digest() + AFTERWARDS)
    return False


KINDS: dict[str, Callable[[_Served], bool]] = {"echo": _echo, "sink": _sink, "first": _first, "digest": _digest}


def serve(listening: socket.socket, kind: str, hello: int) -> None:
    """Serve connections until the process ends. ``kind``: of `KINDS`. Raises the limit of open files."""
    work = KINDS[kind]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listening.setblocking(False)
    events = select.epoll()
    events.register(listening, select.EPOLLIN)
    served: dict[int, _Served] = {}
    while True:
        for fd, _ in events.poll():
            one = served.get(fd)
            if one is None:
                _accept(listening, events, served, hello)
                continue
            try:
                goes_on = _hear(one, greets=work is _first) if one.missing else work(one)
            except OSError:  # the client reports it
                goes_on = False
            if not goes_on:
                del served[fd]
                one.sock.close()


def _accept(listening: socket.socket, events: select.epoll, served: dict[int, _Served], hello: int) -> None:
    try:
        while True:
            sock, _ = listening.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            served[sock.fileno()] = _Served(sock, hello)
            events.register(sock, select.EPOLLIN)
    except BlockingIOError:
        pass


def _hear(served: _Served, greets: bool) -> bool:
    taken = served.sock.recv_into(_room, served.missing)
    served.missing -= taken
    if greets and not served.missing:
        served.sock.send(b"!")
    return bool(taken)
