"""The two processes of the upgrade's load: the server, and the clients. Each answers words that come over a pipe."""

from __future__ import annotations

import select
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trustme
from attrs import Factory, define, frozen

from bench.childprocess import LoadError
from bench.clients import raise_limit
from bench.upgradeends import MIX, End, Outcome, Paces
from bench.upgradetls import Loop, connect

NAME = "upgrade.bench.test"
"""The server name of all tunnels."""

NEW_TIMEOUT_S = 30.0
"""Seconds after which a new client counts as failed."""

HOLD_S = 1.0
"""Seconds that each other new client waits in the middle of its hello, so that upgrades find unfinished ones."""

END_TIMEOUT_S = 60.0
"""Seconds that tunnels may take to deliver what is on its way, and to end."""

MORE = 2
"""Tunnels that `Load.add` opens."""

BUFFER_BYTES = 64 * 1024
"""Of the kernel, for each socket of the load."""

_OPENING = 16
_NEW_PAUSE_S = 0.02


@define
class Seen:
    """What the clients have seen so far.

    ``tunnels``: all that were opened; ``open``: those that are open now; ``lost``: why tunnels ended early; ``wrong``:
    tunnels with wrong bytes; ``new``: new clients that were served; ``failed``: why others were not, with counts;
    ``turns``: of each tunnel with messages, the longest round trip since the last look, in seconds.
    """

    tunnels: int = 0
    open: int = 0
    lost: list[str] = Factory(list)
    wrong: list[str] = Factory(list)
    new: int = 0
    failed: Counter[str] = Factory(Counter)
    turns: list[float] = Factory(list)


@frozen
class Files:
    """The server's certificate with its key, and the authority that issued it."""

    certificate: str
    key: str
    authority: str

    @classmethod
    def make(cls, folder: Path) -> Files:
        """Write them into a folder."""
        authority = trustme.CA()
        issued = authority.issue_cert(NAME)
        found = cls(*(str(folder / f"load-{part}.pem") for part in ("certificate", "key", "authority")))
        issued.cert_chain_pems[0].write_to_path(found.certificate)
        issued.private_key_pem.write_to_path(found.key)
        authority.cert_pem.write_to_path(found.authority)
        return found


def serve(pipe: Connection[Any, Any], listening: socket.socket, files: Files, paces: Paces) -> None:
    """The server's process. ``listening``: its socket."""
    raise_limit()
    loop = Loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    ends: set[End] = set()
    found: dict[int, Outcome] = {}
    listening.setblocking(False)

    def accept(events: int) -> None:
        try:
            sock, _ = listening.accept()
        except OSError:  # the client has left
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends.add(End(loop, sock, context, paces, ended))

    def ended(end: End) -> None:
        ends.discard(end)
        if end.outcome.kind not in ("new", "unknown"):
            found[end.outcome.number] = end.outcome

    def answer(word: str) -> None:
        if word == "end":
            for end in list(ends):
                end.order_end()
            pipe.send("")
        else:  # outcomes
            _end_the_rest(loop, ends)
            pipe.send(found)

    loop.add(listening.fileno(), select.EPOLLIN, accept)
    _answer_words(loop, pipe, answer)


class _Clients:
    """The clients' process."""

    def __init__(self, pipe: Connection[Any, Any], port: int, files: Files, new: int, paces: Paces) -> None:
        raise_limit()
        self._pipe, self._port, self._paces = pipe, port, paces
        self._new = new
        self._context = ssl.create_default_context(cafile=files.authority)
        self._loop = Loop()
        self._ends: set[End] = set()
        self._newcomers: set[End] = set()
        self._outcomes: list[Outcome] = []
        self._seen = Seen()
        self._number = 0

    def run(self, tunnels: int) -> None:
        """Open tunnels, then answer words until the pipe ends."""
        try:
            self._open([MIX[number % len(MIX)] for number in range(tunnels)])
        except LoadError as error:
            self._pipe.send(error)
            return
        self._pipe.send("open")
        for number in range(self._new):
            self._add_newcomer(HOLD_S if number % 2 else 0.0)
        _answer_words(self._loop, self._pipe, self._answer)

    def _open(self, kinds: Sequence[str]) -> None:
        """Open tunnels, a few at a time. Raises `LoadError`."""
        before = len(self._seen.lost), len(self._seen.wrong)
        for at in range(0, len(kinds), _OPENING):
            batch = [self._tunnel(kind) for kind in kinds[at : at + _OPENING]]
            self._loop.run(partial(all_opened, batch))
        if faults := self._seen.lost[before[0] :] + self._seen.wrong[before[1] :]:
            raise LoadError(f"a tunnel does not open: {faults[0]}")

    def _tunnel(self, kind: str) -> End:
        try:
            end = self._end(kind, self._tunnel_ended)
        except OSError as error:
            raise LoadError(f"a tunnel does not open: {error}") from None
        self._ends.add(end)
        self._seen.tunnels += 1
        return end

    def _end(self, kind: str, ended: Callable[[End], None], hold_s: float = 0.0) -> End:
        self._number += 1
        sock = connect(self._port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        return End(self._loop, sock, self._context, self._paces, ended, kind, self._number, NAME, hold_s)

    def _tunnel_ended(self, end: End) -> None:
        self._ends.discard(end)
        self._outcomes.append(end.outcome)
        if end.outcome.fault is not None:
            (self._seen.wrong if end.outcome.wrong else self._seen.lost).append(_said(end))

    def _add_newcomer(self, hold_s: float) -> None:
        if not self._new:
            return
        again = partial(self._add_newcomer, hold_s)
        try:
            end = self._end("new", partial(self._newcomer_ended, again), hold_s)
        except OSError as error:
            self._seen.failed[str(error)] += 1
            self._loop.later(_NEW_PAUSE_S, again)
            return
        self._newcomers.add(end)
        self._loop.later(NEW_TIMEOUT_S, lambda: end.tls.abort(f"no answer within {NEW_TIMEOUT_S:.0f} s"))

    def _newcomer_ended(self, again: Callable[[], None], end: End) -> None:
        self._newcomers.discard(end)
        if end.outcome.wrong:
            self._seen.wrong.append(_said(end))
        elif end.outcome.fault is not None:
            self._seen.failed[end.outcome.fault] += 1
        else:
            self._seen.new += 1
        self._loop.later(_NEW_PAUSE_S, again)

    def _answer(self, word: str) -> None:
        if word == "look":
            self._seen.open = len(self._ends)
            self._seen.turns = [end.look() for end in self._ends if end.outcome.kind == "echo"]
            self._pipe.send(self._seen)
        elif word == "more":
            try:
                self._open(["echo"] * MORE)
                self._pipe.send("")
            except LoadError as error:
                self._pipe.send(error)
        elif word == "last":
            self._new = 0
            self._loop.run(lambda: not self._newcomers)
            self._pipe.send("")
        else:  # end
            for end in list(self._ends):
                end.order_end()
            _end_the_rest(self._loop, self._ends)
            self._seen.open = 0
            self._pipe.send((self._seen, self._outcomes))


def all_opened(ends: Iterable[End]) -> bool:
    """Whether each tunnel is open, or has ended."""
    return all(end.open or not end.tls.alive for end in ends)


def _said(end: End) -> str:
    return f"{end.outcome.kind}: {end.outcome.fault}"


def run_clients(pipe: Connection[Any, Any], port: int, files: Files, tunnels: int, new: int, paces: Paces) -> None:
    """The clients' process. ``port``: of the proxy; ``new``: clients that come at a time."""
    _Clients(pipe, port, files, new, paces).run(tunnels)


def _end_the_rest(loop: Loop, ends: set[End]) -> None:
    """Run until all have ended; abort those that do not end in time."""
    late: list[bool] = []
    loop.later(END_TIMEOUT_S, lambda: late.append(True))
    loop.run(lambda: not ends or bool(late))
    for end in list(ends):
        end.tls.abort(f"did not end within {END_TIMEOUT_S:.0f} s")


def _answer_words(loop: Loop, pipe: Connection[Any, Any], answer: Any) -> None:
    """Run, and answer each word, until the pipe ends."""
    gone: list[bool] = []

    def word(events: int) -> None:
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            gone.append(True)
            return
        answer(said)

    loop.add(pipe.fileno(), select.EPOLLIN, word)
    loop.run(lambda: bool(gone))
