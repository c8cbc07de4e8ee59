"""The clients of the data path benchmark: each sends a TLS hello, then plain bytes, and measures the cost.

Each runs in a process of its own. `Meter` covers only the steady part of the load.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from random import Random
from statistics import quantiles

from attrs import frozen

from bench.childprocess import LoadError, run_in_process
from bench.measure import Meter, proportional
from bench.targets import AFTERWARDS, COUNT

Sample = dict[str, float]
"""The result of one run: values by the names of the figures."""

CONCURRENT = 16
"""Tunnels or connections at once, where a case has several."""

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_BATCH = 64
_context = multiprocessing.get_context("spawn")
_MESSAGE = Random(1).randbytes(64)
_GB = 1e9
_ALERT = 21  # content type of TLS alerts


@frozen
class Destination:
    """Where a client connects. ``pids``: the proxy's processes, whose CPU time counts; none without a proxy."""

    port: int
    hello: bytes
    pids: Sequence[int]

    def connect(self) -> socket.socket:
        """Connect and send the hello."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self.hello)
        return sock


def bulk(destination: Destination, seconds: float, streams: int) -> Sample:
    """Streams to a ``sink``: MB/s, CPU seconds per GB. Raises `LoadError`, also if bytes are lost."""
    return _in_child(partial(_bulk, destination, seconds, streams))


def echo(destination: Destination, seconds: float) -> Sample:
    """64-byte round trips on one connection: median and 99th percentile in µs, CPU µs per message."""
    return _in_child(partial(_echo, destination, seconds))


def echoes(destination: Destination, seconds: float, connections: int) -> Sample:
    """64-byte round trips on several connections at once: messages per second, CPU µs per message."""
    return _in_child(partial(_echoes, destination, seconds, connections))


def tunnels(destination: Destination, seconds: float, at_once: int) -> Sample:
    """Connect, hello, first byte, close in both directions: tunnels per second, CPU µs each."""
    return _in_child(partial(_tunnels, destination, seconds, at_once))


def refused(destination: Destination, seconds: float, at_once: int) -> Sample:
    """Connect, hello, refusal: refusals per second, CPU µs each. Raises `LoadError`, also if a client is served."""
    return _in_child(partial(_refused, destination, seconds, at_once))


def idle(destination: Destination, seconds: float, count: int, talker: Destination | None = None) -> Sample:
    """Tunnels that are idle after the first byte: KiB of memory each, CPU ms per second.

    ``talker``: the destination of one more tunnel, which is not idle; it adds `echo`'s figures.
    """
    return _in_child(partial(_idle, destination, seconds, count, talker))


def checked(destination: Destination, size: int) -> Sample:
    """Send ``size`` bytes and a FIN to a ``digest``, and check its answer. Raises `LoadError` if bytes differ."""
    return _in_child(partial(_checked, destination, size))


def _in_child(work: Callable[[], Sample]) -> Sample:
    told = run_in_process(_context, "client", work)
    assert isinstance(told, dict)
    return told


def _shares(meter: Meter, destination: Destination, divisor: float, unit: str) -> Sample:
    shares = {f"system CPU, {unit}": meter.system / divisor}
    return {f"proxy CPU, {unit}": meter.cpu / divisor, **shares} if destination.pids else shares


def _bulk(destination: Destination, seconds: float, streams: int) -> Sample:
    piece = memoryview(Random(2).randbytes(_CHUNK_BYTES))
    with _connections(destination, streams) as socks:
        sent = _pour(socks, piece, 0.1 * seconds)
        with Meter(destination.pids) as meter:
            poured = _pour(socks, piece, seconds)
            for sock in socks:
                sock.shutdown(socket.SHUT_WR)
            answers = [_taken(sock, COUNT) for sock in socks]
        arrived = sum(int.from_bytes(answer, "big") for answer in answers)
        if arrived != sum(sent) + sum(poured):
            raise LoadError(f"{sum(sent) + sum(poured) - arrived} bytes of {sum(sent) + sum(poured)} were lost")
        total = sum(poured)
        return {"MB/s": total / 1e6 / meter.seconds, **_shares(meter, destination, total / _GB, "s/GB")}


def _pour(socks: Sequence[socket.socket], piece: memoryview, seconds: float) -> list[int]:
    """Write to all writable sockets for some seconds. Returns the bytes written to each."""
    sent = {sock.fileno(): 0 for sock in socks}
    by_fd = {sock.fileno(): sock for sock in socks}
    events = select.epoll()
    for sock in socks:
        sock.setblocking(False)
        events.register(sock, select.EPOLLOUT)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        ready = events.poll(_TIMEOUT_S)
        if not ready:
            raise LoadError("no stream makes progress")
        for fd, _ in ready:
            try:
                sent[fd] += by_fd[fd].send(piece)
            except BlockingIOError:
                pass
    events.close()
    for sock in socks:
        sock.settimeout(_TIMEOUT_S)
    return list(sent.values())


def _echo(destination: Destination, seconds: float) -> Sample:
    with _connections(destination, 1) as (sock,):
        _turns(sock, 0.1 * seconds)
        with Meter(destination.pids) as meter:
            found = _turns(sock, seconds)
    parts = quantiles(found, n=100, method="inclusive")
    return {
        "p50, µs": 1e6 * parts[49],
        "p99, µs": 1e6 * parts[98],
        **_shares(meter, destination, len(found) / 1e6, "µs"),
    }


def _turns(sock: socket.socket, seconds: float) -> list[float]:
    """Seconds of each round trip. Two at least, which percentiles need."""
    found: list[float] = []
    room, size = bytearray(len(_MESSAGE)), len(_MESSAGE)
    clock, send, take = time.perf_counter, sock.sendall, sock.recv_into
    now = clock()
    until = now + seconds
    while now < until or len(found) < 2:
        began = now
        send(_MESSAGE)
        taken = take(room)
        while taken < size:
            taken += _some(sock, size - taken)
        now = clock()
        found.append(now - began)
    if room != _MESSAGE:
        raise LoadError("the echo differs from the message")
    return found


def _echoes(destination: Destination, seconds: float, connections: int) -> Sample:
    with _connections(destination, connections) as socks, select.epoll() as events:
        by_fd = {}
        for sock in socks:
            sock.setblocking(False)
            events.register(sock, select.EPOLLIN)
            by_fd[sock.fileno()] = sock, sock.recv, sock.send
            sock.send(_MESSAGE)
        _answer_all(events, by_fd, 0.1 * seconds)
        with Meter(destination.pids) as meter:
            count = _answer_all(events, by_fd, seconds)
    return {"messages/s": count / meter.seconds, **_shares(meter, destination, count / 1e6, "µs")}


def _answer_all(
    events: select.epoll,
    by_fd: Mapping[int, tuple[socket.socket, Callable[[int], bytes], Callable[[bytes], int]]],
    seconds: float,
) -> int:
    """Send each message that comes back again. Returns the number of messages, at least 1."""
    until, count, size = time.perf_counter() + seconds, 0, len(_MESSAGE)
    while time.perf_counter() < until or not count:
        ready = events.poll(_TIMEOUT_S)
        if not ready:
            raise LoadError("no message comes back")
        for fd, _ in ready:
            sock, take, send = by_fd[fd]
            back = take(size)
            while len(back) < size:  # rare: it arrived in parts
                sock.settimeout(_TIMEOUT_S)
                back += _taken(sock, size - len(back))
                sock.setblocking(False)
            send(back)
        count += len(ready)
    return count


def _tunnels(destination: Destination, seconds: float, at_once: int) -> Sample:
    with ExitStack() as stack:
        events = stack.enter_context(select.epoll())
        opened: dict[int, tuple[socket.socket, bool]] = {}

        def close_all() -> None:
            for sock, _ in opened.values():
                sock.close()

        stack.callback(close_all)

        def open_one() -> None:
            sock = destination.connect()
            opened[sock.fileno()] = sock, False
            events.register(sock, select.EPOLLIN)

        def live(seconds: float) -> int:
            until, count = time.perf_counter() + seconds, 0
            while time.perf_counter() < until or not count:
                ready = events.poll(_TIMEOUT_S)
                if not ready:
                    raise LoadError("no tunnel answers")
                for fd, _ in ready:
                    sock, greeted = opened[fd]
                    if bool(sock.recv(1)) is greeted:
                        raise LoadError("a tunnel ended without a byte" if not greeted else "a byte too many came")
                    if not greeted:
                        sock.shutdown(socket.SHUT_WR)
                        opened[fd] = sock, True
                        continue
                    del opened[fd]
                    sock.close()
                    count += 1
                    open_one()
            return count

        for _ in range(at_once):
            open_one()
        live(0.1 * seconds)
        with Meter(destination.pids) as meter:
            count = live(seconds)
    return {"tunnels/s": count / meter.seconds, **_shares(meter, destination, count / 1e6, "µs")}


def _refused(destination: Destination, seconds: float, at_once: int) -> Sample:
    def ask() -> socket.socket | None:
        try:
            return destination.connect()
        except (ConnectionResetError, BrokenPipeError):  # refused already
            return None

    def live(seconds: float) -> int:
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until or not count:
            for sock in [ask() for _ in range(at_once)]:
                if sock is not None:
                    with sock, suppress(ConnectionResetError):
                        while said := sock.recv(64):
                            if said[0] != _ALERT:
                                raise LoadError("a client was served that should be refused")
                count += 1
        return count

    live(0.1 * seconds)
    with Meter(destination.pids) as meter:
        count = live(seconds)
    return {"refusals/s": count / meter.seconds, **_shares(meter, destination, count / 1e6, "µs")}


def _idle(destination: Destination, seconds: float, count: int, talker: Destination | None) -> Sample:
    before = proportional(destination.pids)
    with ExitStack() as stack:
        for at in range(0, count, _BATCH):
            batch = [stack.enter_context(destination.connect()) for _ in range(min(_BATCH, count - at))]
            for sock in batch:
                _taken(sock, 1)
        # Wait until the proxy has finished with the last tunnels and has freed memory.
        time.sleep(0.2)
        with Meter(destination.pids) as meter:
            time.sleep(seconds)
        each = (proportional(destination.pids) - before) / 1024 / count
        found = {"KiB each": each, "idle CPU, ms/s": 1e3 * meter.cpu / meter.seconds}
        return {**found, **_echo(talker, seconds)} if talker else found


def _checked(destination: Destination, size: int) -> Sample:
    data = Random(3).randbytes(size)
    with destination.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        digest = hashlib.sha256(data).digest()
        expected = digest + AFTERWARDS
        try:
            answer = _taken(sock, len(expected))
        except LoadError as error:
            raise LoadError(f"half-close: of the answer after the client's FIN, {error}") from None
        if answer[: len(digest)] != digest:
            raise LoadError("the server received other bytes than were sent")
        if answer != expected or sock.recv(1):
            raise LoadError("the client received other bytes than were sent")
    return {}


@contextmanager
def _connections(destination: Destination, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(destination.connect()) for _ in range(count)]


def _some(sock: socket.socket, most: int) -> int:
    taken = len(sock.recv(most))
    if not taken:
        raise LoadError("the connection ended")
    return taken


def _taken(sock: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes. Raises `LoadError` if the peer ends before."""
    parts, missing = [], count
    while missing:
        part = sock.recv(min(missing, _CHUNK_BYTES))
        if not part:
            raise LoadError(f"{missing} of {count} bytes are missing")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def raise_limit() -> int:
    """Raise the limit of open files to the hard limit, for child processes too. Returns it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
