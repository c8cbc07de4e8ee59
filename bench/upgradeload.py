"""Tunnels that stay open while a proxy is replaced, and clients that come meanwhile. Every byte is checked.

Clients and server are processes of their own (`upgradeprocesses`), so that neither disturbs the proxy or the other.
"""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path
from typing import Any, TypeVar

from bench.childprocess import LoadError
from bench.upgradeends import PACES, Outcome, Paces
from bench.upgradeprocesses import BUFFER_BYTES, END_TIMEOUT_S, Files, Seen, run_clients, serve

_OPEN_TIMEOUT_S = 120.0
_BACKLOG = 1024
_context = multiprocessing.get_context("spawn")
T = TypeVar("T")


class Load:
    """``tunnels`` of all kinds of `upgradeends.MIX`, and ``new`` clients at a time beside them, half of them slow.

    ``folder``: for its certificates. ``port``: of the server, the proxy's target for `NAME`. ``outcomes``: of the
    clients' ends of all tunnels, after `end`. Raises `LoadError`.
    """

    def __init__(self, folder: Path, tunnels: int, new: int = 4, paces: Paces = PACES) -> None:
        self.tunnels = tunnels
        self.outcomes: list[Outcome] = []
        self._new, self._paces = new, paces
        self._files = Files.make(folder)
        self._children: list[_Child] = []
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            listening.bind(("127.0.0.1", 0))
            listening.listen(_BACKLOG)
            self.port: int = listening.getsockname()[1]
            self._server = self._child("server", serve, listening, self._files, paces)

    def open(self, port: int) -> None:
        """Open all tunnels through the proxy on this port of 127.0.0.1. Raises `LoadError` if one fails."""
        arguments = port, self._files, self.tunnels, self._new, self._paces
        self._clients = self._child("clients", run_clients, *arguments)
        self._clients.answer(str, _OPEN_TIMEOUT_S)

    def add(self) -> None:
        """Open `MORE` tunnels that exchange messages. Raises `LoadError`."""
        self._clients.ask("more", str)

    def look(self) -> Seen:
        """What the clients have seen. The longest round trips count from here on."""
        seen: Seen = self._clients.ask("look", Seen)
        return seen

    def end(self) -> Seen:
        """End all tunnels in order, and compare what each end has sent with what the other has received."""
        self._clients.ask("last", str)
        self._server.ask("end", str)
        seen: Seen
        seen, clients = self._clients.ask("end", tuple)
        self.outcomes = clients
        found: dict[int, Outcome] = self._server.ask("outcomes", dict)
        for one in clients:
            other = found.get(one.number)
            if one.fault is not None:
                continue  # the clients have reported it
            if other is None or other.fault is not None:
                reason = "never reached the server" if other is None else f"the server: {other.fault}"
                (seen.wrong if other is not None and other.wrong else seen.lost).append(f"{one.kind}: {reason}")
            elif (one.sent, one.received) != (other.received, other.sent):
                sent = f"{one.sent} bytes up, {other.sent} down"
                seen.wrong.append(f"{one.kind}: {sent} sent; {other.received}, {one.received} received")
        return seen

    def stop(self) -> None:
        """End both processes."""
        for child in self._children:
            child.stop()

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [child.pid for child in self._children]

    def _child(self, name: str, work: Any, *arguments: object) -> _Child:
        child = _Child(name, work, *arguments)
        self._children.append(child)
        return child


class _Child:
    """A process that answers words over a pipe."""

    def __init__(self, name: str, work: Any, *arguments: object) -> None:
        self._name = name
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def ask(self, word: str, kind: type[T]) -> Any:
        """Send a word and return the answer. Raises `LoadError`."""
        try:
            self._pipe.send(word)
        except OSError:
            raise LoadError(f"the {self._name} exited") from None
        return self.answer(kind, END_TIMEOUT_S + 30)

    def answer(self, kind: type[T], seconds: float) -> Any:
        """Wait for an answer of this type. Raises `LoadError` for an answer that is a `LoadError`, and without one."""
        try:
            found = self._pipe.recv() if self._pipe.poll(seconds) else LoadError(f"the {self._name} do not answer")
        except (EOFError, OSError):
            raise LoadError(f"the {self._name} exited") from None
        if isinstance(found, LoadError):
            raise found
        assert isinstance(found, kind)
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()
