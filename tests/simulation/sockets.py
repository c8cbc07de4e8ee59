"""What the proxy's code gets in place of the modules C{socket} and C{select}: the calls of the simulated kernel."""

from __future__ import annotations

import errno
import select
import socket
from types import SimpleNamespace
from typing import Any, ClassVar

from tests.simulation.kernel import End, Kernel, Listening, error

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_NO_SOCKETS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS)
_NO_ACCEPTS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)


class SimulatedSocket(socket.socket):
    """A socket of the simulated kernel. It is a C{socket.socket} without a real descriptor.

    @cvar kernel: of the world that runs now: a process runs one world at a time.
    """

    kernel: ClassVar[Kernel]
    count: ClassVar[int] = 0
    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, family: int = 2, kind: int = 1, proto: int = 0, fileno: int | None = None) -> None:
        self.what: Any = None
        self.number = -1
        if fileno is not None:
            self.number, self.what = fileno, self.kernel.descriptors[fileno]
            return
        type(self).count += 1
        name = f"dial {self.count}"
        address = ("10.0.0.1", 20_000 + self.count)
        end, peer = self.kernel.pair(name, address, address)
        if self.kernel.faults.rate("no_sockets", end.rng):
            raise error(end.rng.choice(_NO_SOCKETS))
        self.number = self.kernel.open(end)
        self.what = end
        self._peer: End | None = peer

    # What both kinds of sockets have

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        if self.number >= 0:
            number, self.number = self.number, -1
            self.kernel.close(number)

    def detach(self) -> int:
        number, self.number = self.number, -1
        return number

    def setblocking(self, flag: bool) -> None:
        assert not flag, "the proxy never blocks"

    def getsockname(self) -> Any:
        return self.what.address

    def getpeername(self) -> Any:
        return self.what.peer_address

    def setsockopt(self, level: int, option: int, value: Any = None, length: Any = None) -> None:
        self._check()
        if isinstance(self.what, Listening):
            if level == socket.SOL_SOCKET and option == _SO_ATTACH_FILTER:
                self.what.ignores = True
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.what.linger_reset = True
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            self.what.keepalive = bool(value)
        elif (level, option) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            self.what.user_timeout_ms = value
        elif (level, option) == (socket.SOL_SOCKET, _SO_DETACH_FILTER):
            raise error(errno.ENOENT)

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        self._check()
        end = self.what
        if isinstance(end, Listening):
            return 0
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return end.take_error()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return int(end.keepalive)
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            return end.user_timeout_ms
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            lost = end.peer.vanished and end.out.unacknowledged
            return bytes((1, 0, 3 if lost else 0, 0, 0, 0, 0, 0))
        return 0

    # Connections

    def recv(self, size: int, flags: int = 0) -> bytes:
        peek = bool(flags & socket.MSG_PEEK)
        return self._end("reads", not peek).recv(self._most(size, "short_reads"), peek)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        count: int = self._end("writes").send(data, self._most(len(data), "short_writes"))
        return count

    def shutdown(self, how: int) -> None:
        self._end("").shutdown()

    def connect_ex(self, address: Any) -> int:
        end = self._end("")
        if end.established:
            return errno.EISCONN
        if end.error or end.dead:
            return end.take_error() or errno.ECONNABORTED
        if self._peer is None:
            return errno.EALREADY
        peer, self._peer = self._peer, None
        end.peer_address = peer.address = address
        self.kernel.dials(end, peer)
        if end.established:
            return 0
        return end.take_error() or errno.EINPROGRESS

    def _accept(self) -> tuple[int, Any]:
        where = self.what
        self._check()
        if not where.backlog:
            raise error(errno.EAGAIN)
        end = where.backlog[0]
        if self.kernel.faults.rate("no_accepts", end.rng):
            raise error(end.rng.choice(_NO_ACCEPTS))
        number = self.kernel.open(end)
        del where.backlog[0]
        return number, end.peer_address

    def _check(self) -> None:
        if self.number < 0:
            raise error(errno.EBADF)

    def _end(self, faults: str, may_fail: bool = True) -> End:
        self._check()
        end: End = self.what
        if faults and may_fail:
            # A broken connection keeps its own error: the faults are of connections that live.
            if end.events() & select.EPOLLERR:
                return end
            if self.kernel.faults.rate(f"broken_{faults}", end.rng):
                end.broken_by = f"broken_{faults}"
                raise error(end.rng.choice((errno.ENOMEM, errno.ENOBUFS if faults == "writes" else errno.EIO)))
            if self.kernel.faults.rate(f"eagain_{faults}", end.rng):
                raise error(errno.EAGAIN)
        return end

    def _most(self, size: int, fault: str) -> int:
        if size > 1 and self.kernel.faults.rate(fault, self.what.rng):
            most: int = self.what.rng.randrange(1, size)
            return most
        return size


class SimulatedEpoll:
    """An epoll set, edge-triggered, as the proxy uses it for peers that leave."""

    def __init__(self) -> None:
        kernel = self.kernel = SimulatedSocket.kernel
        self._masks: dict[int, tuple[End, int]] = {}
        self._ready: dict[int, None] = {}
        if kernel.faults.rate("no_epoll", kernel.rng):
            raise error(errno.EMFILE)
        self.number = kernel.open(self)

    def fileno(self) -> int:
        return self.number

    def register(self, fd: int, mask: int) -> None:
        if fd in self._masks:
            raise error(errno.EEXIST)
        self._set(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        if fd not in self._masks:
            raise error(errno.ENOENT)
        self._set(fd, mask)

    def unregister(self, fd: int) -> None:
        if fd not in self._masks:
            raise error(errno.ENOENT)
        self.forget(self._masks[fd][0])

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        found = []
        for fd in list(self._ready)[:most]:
            del self._ready[fd]
            events = self._events(fd)
            if events:
                found.append((fd, events))
        return found

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            for end, _ in list(self._masks.values()):
                self.forget(end)
            if number in self.kernel.descriptors:
                self.kernel.close(number)

    def events(self) -> int:
        return select.EPOLLIN if any(map(self._events, self._ready)) else 0

    def notice(self, end: End) -> None:
        """An end of the set has changed."""
        for fd, (one, _) in self._masks.items():
            if one is end:
                self._ready[fd] = None

    def forget(self, end: End) -> None:
        """Remove an end: its descriptor is closed."""
        end.watchers.pop(id(self), None)
        for fd, (one, _) in list(self._masks.items()):
            if one is end:
                del self._masks[fd]
                self._ready.pop(fd, None)

    def _set(self, fd: int, mask: int) -> None:
        end = self.kernel.descriptors[fd]
        assert isinstance(end, End)
        if self.kernel.faults.rate("no_watches", end.rng):
            raise error(end.rng.choice((errno.ENOMEM, errno.ENOSPC)))
        self._masks[fd] = end, mask
        end.watchers[id(self)] = self
        self._ready.pop(fd, None)
        if self._events(fd):
            self._ready[fd] = None

    def _events(self, fd: int) -> int:
        end, mask = self._masks[fd]
        return end.events() & (mask | select.EPOLLERR | select.EPOLLHUP)


class _Poll:
    """poll(2) for one call."""

    def __init__(self) -> None:
        self._socks: list[tuple[SimulatedSocket, int]] = []

    def register(self, sock: SimulatedSocket, mask: int) -> None:
        self._socks.append((sock, mask))

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        always = select.POLLERR | select.POLLHUP
        return [(one.number, found) for one, mask in self._socks if (found := one.what.events() & (mask | always))]


def substitute(module: Any, **names: Any) -> Any:
    """A copy of a module's names with some replaced."""
    return SimpleNamespace(**{**vars(module), **names})


SOCKET = substitute(socket, socket=SimulatedSocket)
SELECT = substitute(select, epoll=SimulatedEpoll, poll=_Poll)
