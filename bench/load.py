"""A producer and a broker on both sides of the measured proxy, each in a process of its own. Linux only.

Both cost as little as possible: what they send is made beforehand, and the kernel drops what they receive.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from functools import partial
from threading import Thread

from attrs import frozen

from bench.childprocess import LoadError, run_in_process
from bench.traffic import Produce, send_receipts

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
# Not by fork: the calling process may have threads, and a reactor's signal handlers.
_context = multiprocessing.get_context("spawn")


@frozen
class Sent:
    """One run: seconds from the first byte to the last answer's last byte."""

    frames: int
    bytes: int
    seconds: float


class Broker:
    """Serves one connection at a time, and answers each complete SEND with a SEND_RECEIPT."""

    def __init__(self, traffic: Produce) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(8)
        self.port: int = self._sock.getsockname()[1]
        self._process = _context.Process(target=_broker, args=(self._sock, traffic), daemon=True)
        self._process.start()

    def stop(self) -> None:
        """End its process."""
        self._sock.close()
        self._process.terminate()
        self._process.join()


def send(traffic: Produce, cycles: int, port: int) -> Sent:
    """Write cycles to a local port from a new process, and wait for all answers.

    Raises `LoadError` if answers are missing.
    """
    sent = run_in_process(_context, "producer", partial(_producer, traffic, cycles, port))
    assert isinstance(sent, Sent)
    return sent


def _producer(traffic: Produce, cycles: int, port: int) -> Sent:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as sock:
        sock.sendall(traffic.hello)
        _skip(sock, len(traffic.welcome))
        missing = cycles * len(traffic.receipts)
        failures: list[str] = []

        def take() -> None:
            try:
                _skip(sock, missing)
            except (OSError, LoadError) as error:
                failures.append(str(error))

        taking = Thread(target=take)
        began = time.monotonic()
        taking.start()
        for _ in range(cycles):
            sock.sendall(traffic.frames)
        sock.shutdown(socket.SHUT_WR)
        taking.join()
        seconds = time.monotonic() - began
        if failures:
            raise LoadError(failures[0])
    return Sent(traffic.frames_in(cycles), cycles * len(traffic.frames), seconds)


def _skip(sock: socket.socket, count: int) -> None:
    """Receive ``count`` bytes. With MSG_TRUNC TCP drops them without a copy."""
    room = bytearray(_CHUNK_BYTES)
    while count:
        taken = sock.recv_into(room, min(count, _CHUNK_BYTES), socket.MSG_TRUNC)
        if not taken:
            raise LoadError(f"the connection ended with {count} bytes missing")
        count -= taken


def _broker(listening: socket.socket, traffic: Produce) -> None:
    while True:
        sock, _ = listening.accept()
        with sock:
            try:
                _skip(sock, len(traffic.hello))
                sock.sendall(traffic.welcome)
                _answer(sock, traffic)
            except (OSError, LoadError):  # the producer reports it
                pass


def _answer(sock: socket.socket, traffic: Produce) -> None:
    room, received, sent = bytearray(_CHUNK_BYTES), 0, 0
    while taken := sock.recv_into(room, _CHUNK_BYTES, socket.MSG_TRUNC):
        received += taken
        sent = send_receipts(sock, traffic, received, sent)
