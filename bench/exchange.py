"""A client and a broker, with or without TLS, each in a process of its own. Their bytes are made beforehand."""

from __future__ import annotations

import multiprocessing
import select
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from bench.childprocess import LoadError, run_in_process
from bench.traffic import Produce, send_receipts
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader

NAME = "localhost"
"""The broker's name: in its certificate, and resolvable everywhere."""

_CHUNK_BYTES = 256 * 1024
_TIMEOUT_S = 60.0
_context = multiprocessing.get_context("fork")


@frozen
class ClientPath:
    """How the client reaches the broker. ``trust``: the authority for TLS; None: without TLS."""

    port: int
    trust: Path | None


class Broker:
    """Serves one connection at a time: answers each SEND with a SEND_RECEIPT, and a FLOW with cycles of MESSAGEs."""

    def __init__(self, certificate: Path, traffic: Produce, messages: bytes) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=8)
        self.port: int = self._sock.getsockname()[1]
        work = self._sock, tls, traffic, messages
        self._process = _context.Process(target=_broker, args=work, daemon=True)
        self._process.start()

    def stop(self) -> None:
        """End its process."""
        self._sock.close()
        # Not by SIGTERM: a fork of trial's process has the reactor's handler, which does not end it.
        self._process.kill()
        self._process.join()


def produce(way: ClientPath, broker: int, traffic: Produce, cycles: int) -> float:
    """Bytes of SENDs per second, from the first one to the last receipt. Raises `LoadError`."""

    def work() -> float:
        with _connected(way, broker) as sock:
            began = time.monotonic()
            _exchange(sock, traffic.frames, cycles, cycles * len(traffic.receipts))
            return cycles * len(traffic.frames) / (time.monotonic() - began)

    return _in_child(work)


def consume(way: ClientPath, broker: int, messages: bytes, cycles: int) -> float:
    """Bytes of MESSAGEs per second, from the FLOW to the last MESSAGE. Raises `LoadError`."""

    def work() -> float:
        with _connected(way, broker) as sock:
            began = time.monotonic()
            _exchange(sock, write(pb.CommandFlow(consumer_id=1, messagePermits=cycles)), 1, cycles * len(messages))
            return cycles * len(messages) / (time.monotonic() - began)

    return _in_child(work)


def round_trip(way: ClientPath, broker: int, traffic: Produce, count: int) -> float:
    """Seconds from a SEND to its receipt, the mean of ``count`` in sequence. Raises `LoadError`."""
    frame, receipt = traffic.frames[: traffic.ends[0]], traffic.receipt_ends[0]

    def work() -> float:
        with _connected(way, broker) as sock:
            began = time.monotonic()
            for _ in range(count):
                sock.sendall(frame)
                _take(sock, receipt)
            return (time.monotonic() - began) / count

    # The broker counts frames, so each SEND must be the first frame of a cycle.
    if len(traffic.ends) != 1:
        raise ValueError("round_trip needs a cycle of one SEND")
    return _in_child(work)


def _in_child(work: Callable[[], float]) -> float:
    told = run_in_process(_context, "client", work)
    assert isinstance(told, float)
    return told


def _connected(way: ClientPath, broker: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", way.port), timeout=_TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if way.trust is not None:
        sock = ssl.create_default_context(cafile=way.trust).wrap_socket(sock, server_hostname=NAME)
    # It tells a bridge that this connection is for a broker.
    named = f"{NAME}:{broker}" if way.trust is None else ""
    sock.sendall(write(pb.CommandConnect(client_version="bench", protocol_version=21, proxy_to_broker_url=named)))
    _take(sock, len(_WELCOME))
    return sock


_WELCOME = write(pb.CommandConnected(server_version="bench", protocol_version=21, max_message_size=5 * 1024 * 1024))


def _take(sock: socket.socket, count: int) -> None:
    room = bytearray(min(count, _CHUNK_BYTES))
    while count:
        taken = sock.recv_into(room, min(count, len(room)))
        if not taken:
            raise LoadError(f"the connection ended with {count} bytes missing")
        count -= taken


def _exchange(sock: socket.socket, cycle: bytes, cycles: int, expected: int) -> None:
    """Send cycles and receive ``expected`` bytes at the same time, in one thread: a TLS object cannot be shared."""
    sock.setblocking(False)
    frames, room, at = memoryview(cycle), bytearray(_CHUNK_BYTES), 0
    while cycles or expected:
        moved = 0
        try:
            if cycles:
                moved = sock.send(frames[at : at + _CHUNK_BYTES])
                at += moved
                if at == len(frames):
                    cycles, at = cycles - 1, 0
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            if expected:
                taken = sock.recv_into(room, min(expected, _CHUNK_BYTES))
                if not taken:
                    raise LoadError(f"the connection ended with {expected} bytes missing")
                expected, moved = expected - taken, moved + taken
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if not moved and not any(select.select([sock], [sock] if cycles else [], [], _TIMEOUT_S)):
            raise LoadError(f"no progress with {expected} bytes missing")


def _broker(listening: socket.socket, tls: ssl.SSLContext, traffic: Produce, messages: bytes) -> None:
    while True:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with tls.wrap_socket(plain, server_side=True) as sock:
                _serve(sock, traffic, messages)
        except OSError:  # the client reports it
            plain.close()


def _serve(sock: ssl.SSLSocket, traffic: Produce, messages: bytes) -> None:
    reader, room = FrameReader(), bytearray(_CHUNK_BYTES)
    # CONNECT comes first. The client waits for the answer.
    while not reader.feed(data := sock.recv(65_536)):
        if not data:
            return
    sock.sendall(_WELCOME)
    received = sent = 0
    while taken := sock.recv_into(room, _CHUNK_BYTES):
        if not received and taken < 32:  # no SEND is so small
            (frame,) = FrameReader().feed(bytes(room[:taken]))
            for _ in range(read(frame.command).flow.messagePermits):
                sock.sendall(messages)
            continue
        received += taken
        sent = send_receipts(sock, traffic, received, sent)
