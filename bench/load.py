"""A producer and a broker beside the proxy that is measured, each in a process of its own. Linux only.

Both are as cheap as can be: what they send is made beforehand, and what they take is dropped inside the kernel.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from functools import partial
from threading import Thread

from attrs import frozen

from bench.apart import LoadError, apart
from bench.traffic import Produce

_AT_ONCE = 1 << 20
_PATIENCE = 60.0
# Not by fork: who runs us may have threads, and signal handlers of a reactor's.
_context = multiprocessing.get_context("spawn")


@frozen
class Sent:
    """One run: seconds from the first byte to the last answer's last byte."""

    frames: int
    bytes: int
    seconds: float


class Broker:
    """Takes one connection at a time and answers each SEND with a SEND_RECEIPT, as soon as the SEND is whole."""

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
    """Write so many cycles to a port of this machine, from a process of its own, until all is answered.

    Raises `LoadError` when answers are missing.
    """
    sent = apart(_context, "producer", partial(_producer, traffic, cycles, port))
    assert isinstance(sent, Sent)
    return sent


def _producer(traffic: Produce, cycles: int, port: int) -> Sent:
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as sock:
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
    """Take so many bytes. MSG_TRUNC: TCP drops them without a copy."""
    room = bytearray(_AT_ONCE)
    while count:
        taken = sock.recv_into(room, min(count, _AT_ONCE), socket.MSG_TRUNC)
        if not taken:
            raise LoadError(f"the connection ended {count} bytes too early")
        count -= taken


def _broker(listening: socket.socket, traffic: Produce) -> None:
    while True:
        sock, _ = listening.accept()
        with sock:
            try:
                _skip(sock, len(traffic.hello))
                sock.sendall(traffic.welcome)
                _answer(sock, traffic)
            except (OSError, LoadError):  # the producer says so
                pass


def _answer(sock: socket.socket, traffic: Produce) -> None:
    room, received, sent = bytearray(_AT_ONCE), 0, 0
    receipts = memoryview(traffic.receipts)
    while taken := sock.recv_into(room, _AT_ONCE, socket.MSG_TRUNC):
        received += taken
        due = traffic.receipt_bytes(received)
        while sent < due:
            at = sent % len(receipts)
            part = receipts[at : at + due - sent]
            sock.sendall(part)
            sent += len(part)
