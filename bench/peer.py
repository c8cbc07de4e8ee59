"""A proxy that the bench compares: its command line and its version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from bench import ROOT

TUNNELS = 9_400
"""Tunnels at once, at most. With two descriptors each they fit into the 20,000 of a process."""

DIRECT = "direct"
"""The name in results for connections without a proxy."""


@frozen
class Plan:
    """What a proxy has to do: listen on a port of 127.0.0.1, and route names to ports of 127.0.0.1.

    ``more``: names that go to the port of the first of ``routes``. ``folder``: for the proxy's files.
    """

    folder: Path
    port: int
    routes: Mapping[str, int]
    more: Sequence[str] = ()
    workers: int = 1

    @property
    def names(self) -> dict[str, int]:
        """All names with their ports."""
        first = next(iter(self.routes.values()))
        # The names in use come last, so that a linear search does not find them at once.
        return {**dict.fromkeys(self.more, first), **self.routes}

    def write(self, name: str, text: str) -> Path:
        """Write a file in the folder."""
        path = self.folder / name
        path.write_text(text)
        return path


@frozen
class Peer:
    """A proxy. ``program``: its path, None if not installed. ``start``: writes its files and returns the command."""

    name: str
    needs: str
    """The package that provides it, for messages."""
    program: Callable[[], str | None]
    start: Callable[[str, Plan], list[str]]
    version: Sequence[str] = field(default=("-v",))
    """Arguments that print its version."""
    processes: Callable[[int], int] = lambda workers: 1
    """Its number of processes by the number of workers. Some proxies listen before all processes have started."""
    ready: Callable[[Path], bool] = lambda folder: True
    """Called with its folder once it listens: whether it has started completely."""
    lacks: Callable[[Path], str | None] = lambda folder: None
    """Called with its folder once it is ready: why it does not run as asked and figures would mislead; else None."""
    relay: Callable[[Path], str | None] = lambda folder: None
    """Called with its folder once it is ready: which of our relays serves. None: it does not say."""
    root: Callable[[], Path] = lambda: ROOT
    """The folder to start it in. Raises `LoadError` if there is none."""
    environment: Callable[[Path], Mapping[str, str]] = lambda folder: os.environ
    """Called with its folder: its environment."""

    def said_version(self) -> str:
        """The first line of its version output. Raises `OSError`; `FileNotFoundError` if it is not installed."""
        program = self.program()
        if program is None:
            raise FileNotFoundError(f"{self.name} is not installed; provided by {self.needs}")
        command = [program, *self.version]
        environment = self.environment(ROOT)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).replace(program, Path(program).name)  # one prints its own path
        return next((line.strip() for line in said.splitlines() if line.strip()), "unknown")
