"""The clients of the data path: each sends a TLS hello and then plain bytes, and meters what that took.

All of them work in a process of their own, and by `Meter` only the part is counted in which all goes its way.
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

from bench.apart import LoadError, apart
from bench.measure import Meter, proportional
from bench.targets import AFTERWARDS, COUNT

Sample = dict[str, float]
"""What one run came to, by the names of its figures."""

_PATIENCE = 30.0
_AT_ONCE = 1 << 20
_BATCH = 64
_context = multiprocessing.get_context("spawn")
_MESSAGE = Random(1).randbytes(64)
_GB = 1e9
_ALERT = 21  # the type of TLS's records that say why


@frozen
class Place:
    """Where a client goes. ``pids``: processes of the proxy there, whose CPU time counts; of the direct line, none."""

    port: int
    hello: bytes
    pids: Sequence[int]

    def connect(self) -> socket.socket:
        """A connection on which the hello is sent."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self.hello)
        return sock


def bulk(place: Place, seconds: float, streams: int) -> Sample:
    """Streams to a ``sink``: MB/s, CPU seconds a GB. Raises `LoadError`, too when bytes are lost."""
    return _apart(partial(_bulk, place, seconds, streams))


def echo(place: Place, seconds: float) -> Sample:
    """64 bytes to and fro on one connection: µs in the middle and at the 99th percentile, CPU µs a message."""
    return _apart(partial(_echo, place, seconds))


def echoes(place: Place, seconds: float, connections: int) -> Sample:
    """64 bytes to and fro on several connections at once: messages a second, CPU µs a message."""
    return _apart(partial(_echoes, place, seconds, connections))


def tunnels(place: Place, seconds: float, at_once: int) -> Sample:
    """Connect, hello, first byte, both ways closed: tunnels a second, CPU µs each."""
    return _apart(partial(_tunnels, place, seconds, at_once))


def refused(place: Place, seconds: float, at_once: int) -> Sample:
    """Connect, hello, and a refusal: refusals a second, CPU µs each. Raises `LoadError`, too when one is served."""
    return _apart(partial(_refused, place, seconds, at_once))


def idle(place: Place, seconds: float, count: int, talker: Place | None = None) -> Sample:
    """Tunnels that say nothing behind the first byte: KiB of memory each, CPU ms a second.

    ``talker``: one tunnel beside them that does: `echo`'s figures, too.
    """
    return _apart(partial(_idle, place, seconds, count, talker))


def checked(place: Place, size: int) -> Sample:
    """So many bytes to a ``digest`` and an end, then its answer. Raises `LoadError`: what was lost or changed."""
    return _apart(partial(_checked, place, size))


def _apart(work: Callable[[], Sample]) -> Sample:
    told = apart(_context, "client", work)
    assert isinstance(told, dict)
    return told


def _shares(meter: Meter, place: Place, divisor: float, unit: str) -> Sample:
    shares = {f"system CPU, {unit}": meter.system / divisor}
    return {f"proxy CPU, {unit}": meter.cpu / divisor, **shares} if place.pids else shares


def _bulk(place: Place, seconds: float, streams: int) -> Sample:
    piece = memoryview(Random(2).randbytes(_AT_ONCE))
    with _connections(place, streams) as socks:
        sent = _pour(socks, piece, 0.1 * seconds)
        with Meter(place.pids) as meter:
            poured = _pour(socks, piece, seconds)
            for sock in socks:
                sock.shutdown(socket.SHUT_WR)
            answers = [_taken(sock, COUNT) for sock in socks]
        arrived = sum(int.from_bytes(answer, "big") for answer in answers)
        if arrived != sum(sent) + sum(poured):
            raise LoadError(f"{sum(sent) + sum(poured) - arrived} bytes of {sum(sent) + sum(poured)} were lost")
        total = sum(poured)
        return {"MB/s": total / 1e6 / meter.seconds, **_shares(meter, place, total / _GB, "s/GB")}


def _pour(socks: Sequence[socket.socket], piece: memoryview, seconds: float) -> list[int]:
    """Write to all that take it, for so long; bytes on each."""
    sent = {sock.fileno(): 0 for sock in socks}
    by_fd = {sock.fileno(): sock for sock in socks}
    events = select.epoll()
    for sock in socks:
        sock.setblocking(False)
        events.register(sock, select.EPOLLOUT)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        ready = events.poll(_PATIENCE)
        if not ready:
            raise LoadError("no stream moves any more")
        for fd, _ in ready:
            try:
                sent[fd] += by_fd[fd].send(piece)
            except BlockingIOError:
                pass
    events.close()
    for sock in socks:
        sock.settimeout(_PATIENCE)
    return list(sent.values())


def _echo(place: Place, seconds: float) -> Sample:
    with _connections(place, 1) as (sock,):
        _turns(sock, 0.1 * seconds)
        with Meter(place.pids) as meter:
            found = _turns(sock, seconds)
    parts = quantiles(found, n=100, method="inclusive")
    return {"p50, µs": 1e6 * parts[49], "p99, µs": 1e6 * parts[98], **_shares(meter, place, len(found) / 1e6, "µs")}


def _turns(sock: socket.socket, seconds: float) -> list[float]:
    """How long each turn took."""
    room, found, size = bytearray(len(_MESSAGE)), [], len(_MESSAGE)
    clock, send, take = time.perf_counter, sock.sendall, sock.recv_into
    now = clock()
    until = now + seconds
    while now < until:
        began = now
        send(_MESSAGE)
        taken = take(room)
        while taken < size:
            taken += _some(sock, size - taken)
        now = clock()
        found.append(now - began)
    if room != _MESSAGE:
        raise LoadError("another message came back")
    return found


def _echoes(place: Place, seconds: float, connections: int) -> Sample:
    with _connections(place, connections) as socks, select.epoll() as events:
        by_fd = {}
        for sock in socks:
            sock.setblocking(False)
            events.register(sock, select.EPOLLIN)
            by_fd[sock.fileno()] = sock, sock.recv, sock.send
            sock.send(_MESSAGE)
        _answer_all(events, by_fd, 0.1 * seconds)
        with Meter(place.pids) as meter:
            count = _answer_all(events, by_fd, seconds)
    return {"messages/s": count / meter.seconds, **_shares(meter, place, count / 1e6, "µs")}


def _answer_all(
    events: select.epoll,
    by_fd: Mapping[int, tuple[socket.socket, Callable[[int], bytes], Callable[[bytes], int]]],
    seconds: float,
) -> int:
    """Each message that comes back is sent again; how many there were."""
    until, count, size = time.perf_counter() + seconds, 0, len(_MESSAGE)
    while time.perf_counter() < until:
        ready = events.poll(_PATIENCE)
        if not ready:
            raise LoadError("no message comes back any more")
        for fd, _ in ready:
            sock, take, send = by_fd[fd]
            back = take(size)
            while len(back) < size:  # rare: it came in parts
                sock.settimeout(_PATIENCE)
                back += _taken(sock, size - len(back))
                sock.setblocking(False)
            send(back)
        count += len(ready)
    return count


def _tunnels(place: Place, seconds: float, at_once: int) -> Sample:
    with ExitStack() as stack:
        events = stack.enter_context(select.epoll())
        opened: dict[int, tuple[socket.socket, bool]] = {}

        def close_all() -> None:
            for sock, _ in opened.values():
                sock.close()

        stack.callback(close_all)

        def open_one() -> None:
            sock = place.connect()
            opened[sock.fileno()] = sock, False
            events.register(sock, select.EPOLLIN)

        def live(seconds: float) -> int:
            until, count = time.perf_counter() + seconds, 0
            while time.perf_counter() < until:
                ready = events.poll(_PATIENCE)
                if not ready:
                    raise LoadError("no tunnel answers any more")
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
        with Meter(place.pids) as meter:
            count = live(seconds)
    return {"tunnels/s": count / meter.seconds, **_shares(meter, place, count / 1e6, "µs")}


def _refused(place: Place, seconds: float, at_once: int) -> Sample:
    def ask() -> socket.socket | None:
        try:
            return place.connect()
        except (ConnectionResetError, BrokenPipeError):  # refused already
            return None

    def live(seconds: float) -> int:
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            for sock in [ask() for _ in range(at_once)]:
                if sock is not None:
                    with sock, suppress(ConnectionResetError):
                        while said := sock.recv(64):
                            if said[0] != _ALERT:
                                raise LoadError("a client was served that should be refused")
                count += 1
        return count

    live(0.1 * seconds)
    with Meter(place.pids) as meter:
        count = live(seconds)
    return {"refusals/s": count / meter.seconds, **_shares(meter, place, count / 1e6, "µs")}


def _idle(place: Place, seconds: float, count: int, talker: Place | None) -> Sample:
    before = proportional(place.pids)
    with ExitStack() as stack:
        for at in range(0, count, _BATCH):
            batch = [stack.enter_context(place.connect()) for _ in range(min(_BATCH, count - at))]
            for sock in batch:
                _taken(sock, 1)
        # What is only done for the last ones is over, and memory that is given back is given back.
        time.sleep(0.2)
        with Meter(place.pids) as meter:
            time.sleep(seconds)
        each = (proportional(place.pids) - before) / 1024 / count
        found = {"KiB each": each, "idle CPU, ms/s": 1e3 * meter.cpu / meter.seconds}
        return {**found, **_echo(talker, seconds)} if talker else found


def _checked(place: Place, size: int) -> Sample:
    data = Random(3).randbytes(size)
    with place.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        digest = hashlib.sha256(data).digest()
        expected = digest + AFTERWARDS
        try:
            answer = _taken(sock, len(expected))
        except LoadError as error:
            raise LoadError(f"half-close: of the answer behind the client's end, {error}") from None
        if answer[: len(digest)] != digest:
            raise LoadError("the server got other bytes than were sent")
        if answer != expected or sock.recv(1):
            raise LoadError("the client got other bytes than were sent")
    return {}


@contextmanager
def _connections(place: Place, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(place.connect()) for _ in range(count)]


def _some(sock: socket.socket, most: int) -> int:
    taken = len(sock.recv(most))
    if not taken:
        raise LoadError("the connection ended")
    return taken


def _taken(sock: socket.socket, count: int) -> bytes:
    """So many bytes, or `LoadError`."""
    parts, missing = [], count
    while missing:
        part = sock.recv(min(missing, _AT_ONCE))
        if not part:
            raise LoadError(f"{missing} of {count} bytes never came")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def raise_limit() -> int:
    """Open as many files as this machine lets us, and our children; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
