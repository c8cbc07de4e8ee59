"""What a supervisor hands to the program that replaces it in the same process, by execve(2). Pure.

A struct may get new fields with defaults. Everything else needs a new number in L{VERSIONS}. L{_Head} never changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

VERSIONS = (1,)
"""The versions of L{Handover} that this program can read. It writes the first one."""


class BadHandover(Exception):
    """This program cannot read what the running supervisor hands over. The message says why."""


class Sockets(msgspec.Struct, frozen=True):
    """The kept sockets of a worker. @ivar channel: the descriptor of the channel to it; None: there is none.

    @ivar kept: the descriptors of its listening sockets, by endpoint.
    """

    channel: int | None
    kept: dict[str, int]


class WorkerState(msgspec.Struct, frozen=True):
    """A worker's process.

    @ivar status: its status as waitpid(2) gives it, if it has been collected; None: it runs, or is to be collected.
    @ivar since: when it was started, on the monotonic clock.
    @ivar pause, ready, error, counts, ends: as those of L{sniproxy.server.workers.process.Worker}.
    @ivar pipes: the descriptors of this end of its pipes, by their numbers in the worker.
    @ivar orders: the number of the pipe of orders. @ivar unsent: bytes of orders that wait for room in that pipe.
    @ivar log, reports: the bytes that were read behind the last line. @ivar admin: the descriptor of its admin channel.
    @ivar limit: seconds after which it is killed, and what it did not do in time; None: it is not.
    @ivar drains: those that it has confirmed. @ivar totals, metrics: those seen last, for the sums.
    @ivar sockets: of one that is not the worker of its index; None: it is.
    """

    index: int
    pid: int
    status: int | None
    since: float
    pause: float
    ready: bool
    error: str
    counts: str
    pipes: dict[int, int]
    orders: int
    unsent: bytes
    log: bytes
    reports: bytes
    admin: int | None
    limit: tuple[float, str] | None
    ends: float | None = None
    drains: tuple[tuple[str, str, float], ...] = ()
    totals: dict[str, int] = {}
    metrics: str = ""
    sockets: Sockets | None = None


class Pause(msgspec.Struct, frozen=True):
    """A worker that is to be started again. @ivar left: seconds until then. @ivar waited: the whole pause."""

    index: int
    left: float
    waited: float


class AdminState(msgspec.Struct, frozen=True):
    """What the admin endpoint has shown.

    @ivar endpoint: its text. @ivar socket: the descriptor that listens. None: there is no endpoint.
    @ivar drains: kind, name, rate, and seconds since 1970. @ivar started, since: as in C{SupervisorState}.
    @ivar reloads: as the fields of C{Reloads}. @ivar totals, metrics: of workers that have ended.
    @ivar answers: descriptors of connections that wait for the result of the upgrade.
    """

    endpoint: str | None
    socket: int | None
    drains: tuple[tuple[str, str, float, float], ...]
    started: float
    since: float
    reloads: tuple[int, int, str | None, float | None]
    totals: dict[str, int]
    metrics: str
    answers: tuple[int, ...]


class Result(msgspec.Struct, frozen=True):
    """The result of the upgrade so far. @ivar began: when it began, on the monotonic clock."""

    workers: int
    moved: int
    stayed: int
    began: float


class Handover(msgspec.Struct, frozen=True):
    """All that a supervisor knows.

    @ivar version: of this document. @ivar release: of the program that has written it.
    @ivar text: the configuration of the workers. @ivar sockets: those that are kept for each index.
    @ivar reload: a reload waits for the end of the upgrade. @ivar pid_file: its path; empty: there is none.
    """

    version: int
    release: str
    text: str
    workers: tuple[WorkerState, ...]
    pauses: tuple[Pause, ...]
    sockets: dict[int, Sockets]
    admin: AdminState
    result: Result
    reload: bool
    pid_file: str

    def descriptors(self) -> Iterator[int]:
        """The descriptors that it names."""
        for worker in self.workers:
            yield from worker.pipes.values()
            if worker.admin is not None:
                yield worker.admin
        for sockets in (*self.sockets.values(), *(one.sockets for one in self.workers if one.sockets is not None)):
            yield from sockets.kept.values()
            if sockets.channel is not None:
                yield sockets.channel
        if self.admin.socket is not None:
            yield self.admin.socket
        yield from self.admin.answers


class _Head(msgspec.Struct, frozen=True):
    version: int
    release: str


def encode(handover: Handover) -> bytes:
    """As bytes, for L{decode}."""
    return msgspec.msgpack.encode(handover)


def decode(data: bytes) -> Handover:
    """What a supervisor has written. @raise BadHandover: this program cannot read it."""
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if head.version in VERSIONS:
            return msgspec.msgpack.decode(data, type=Handover)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadHandover(f"not the state of a supervisor: {error}") from error
    known = " or ".join(map(str, VERSIONS))
    raise BadHandover(
        f"this program reads version {known} of a supervisor's state, the running sniproxy {head.release} writes "
        f"{head.version}; restart instead"
    )
