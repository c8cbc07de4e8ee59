"""The program in a process whose code on disk a test changes before an upgrade, and its tunnels."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.adminclient import AdminError, as_url, fetch_status, upgrade
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.sockets import TIMEOUT_S, read_exactly
from tests.support.twistdprocess import ENVIRONMENT

NAME = "broker-1.upgrade.test"

POLL_S = 0.02
"""Seconds between two looks at what another process does."""

WAIT_TIMEOUT_S = 60.0
"""Seconds for an upgrade, and for whatever else a test waits for: a loaded machine starts processes slowly."""

PLAIN = "from twisted.scripts.twistd import run\nrun()\n"
"""The program."""

NEW_TUNNELS = (
    "import os, signal, socket, sys\n"
    "from sniproxy.server.upgrade import messages\n"
    "from sniproxy.server.upgrade.channel import receive\n"
    "from sniproxy.server.upgrade.program import descriptors_from\n"
    "channel = socket.socket(fileno=descriptors_from()[0])\n"
    "def read():\n"
    "    message, descriptors = receive(channel)\n"
    "    if message is None:\n"
    "        sys.exit(0)\n"
    "    return message\n"
    "def read_until(kind):\n"
    "    while not isinstance(message := read(), kind):\n"
    "        pass\n"
    "    return message\n"
    "def send(message):\n"
    "    channel.send(messages.encode(message))\n"
    "read_until(messages.Offered)\n"
)
"""The begin of a program that speaks the protocol of upgrades, and then misbehaves."""

READY = "send(messages.Ready(2, os.getpid(), (0,)))\n"


@attrs.frozen
class Ends:
    """Both far ends of a tunnel."""

    client: socket.socket
    target: socket.socket

    def exchange(self, count: int = 3000) -> None:
        """Send bytes in both directions, and check them."""
        for source, sink in ((self.client, self.target), (self.target, self.client)):
            sent = random.randbytes(count)
            source.sendall(sent)
            assert read_exactly(sink, count) == sent

    def close(self) -> None:
        self.client.close()
        self.target.close()


AT_COMMIT = (
    "import os, signal\nfrom sniproxy.server.upgrade.messages import Commit\n"
    "from sniproxy.server.upgrade.receiver import TunnelReceiver\n"
    "received = TunnelReceiver._received\n"
    "def hang(self, message, descriptors):\n"
    "    if isinstance(message, Commit):\n"
    "        os.kill(os.getpid(), signal.SIGSTOP)\n"
    "    received(self, message, descriptors)\n"
    "TunnelReceiver._received = hang\n"
)
"""Code of a new process that hangs before it reads the commit."""


AT_TUNNEL = (
    "import os\nfrom sniproxy.server.upgrade.receiver import TunnelReceiver\n"
    "keep = TunnelReceiver._keep_promise\n"
    "def keep_promise(self, number):\n"
    "    keep(self, number)\n"
    "    if self.adopted == 2:\n"
    "        os.kill({process}, 9)\n"
    "TunnelReceiver._keep_promise = keep_promise\n"
)
"""Code of a new worker that kills a process when it has taken two tunnels."""


def at_committed(before: str, after: str = "pass") -> str:
    """Code of a new process that does something when it says that it accepts connections."""
    return (
        "import os, signal\nfrom sniproxy.server.upgrade.messages import Committed\n"
        "from sniproxy.server.upgrade.receiver import TunnelReceiver\n"
        "send = TunnelReceiver.send\n"
        "def at_committed(self, message, *more, **named):\n"
        "    committed = isinstance(message, Committed)\n"
        f"    if committed:\n        {before}\n"
        "    send(self, message, *more, **named)\n"
        f"    if committed:\n        {after}\n"
        "TunnelReceiver.send = at_committed\n"
    )


class UpgradedProgram:
    """The program, with a UNIX socket as admin endpoint.

    @param text: more of its configuration.
    @param code: the program; see L{PLAIN}. @param options: of twistd.
    @param endpoint: of its first listener; C{{folder}} stands for the folder.
    @param environment: more environment variables. @param workers: if there are several, their C{sys.path} begins with
        the folder.
    @ivar folder: has C{run.py}, the program, C{proxy.toml}, its configuration, and C{out}, its output, which is also
        that of the processes that replace it. Its path is short.
    @ivar pid: of the first process. @ivar address: of its first listener. None: not TCP.
    """

    def __init__(
        self,
        case: SynchronousTestCase,
        text: str = "",
        code: str = PLAIN,
        options: Sequence[str] = ("--nodaemon", "--pidfile="),
        endpoint: str = "tcp:0:interface=127.0.0.1",
        environment: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self._case = case
        self._never = threading.Event()
        folder = tempfile.TemporaryDirectory()
        case.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.backend = Backend(case)
        self.admin = as_url(f"unix:{self.folder}/admin")
        self.endpoint = endpoint.format(folder=self.folder)
        self._workers = workers
        self.write(code)
        self.configure(text)
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(self.folder / "run.py"), *options, "sniproxy", "--config", "proxy.toml"],
                stdout=out, stderr=out, env={**ENVIRONMENT, **(environment or {})}, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        case.addCleanup(self._end)
        self.wait_for("ready:", 1 if workers == 1 else workers + 1)
        self.pid = self.process.pid
        for file in self.folder.glob("*.pid"):
            self.pid = int(file.read_text())
        self.address = self.address_of("main")

    @property
    def said(self) -> str:
        """The output so far."""
        return (self.folder / "out").read_text()

    def address_of(self, listener: str) -> tuple[str, int] | None:
        """The address of a listener. None: not TCP."""
        found = re.search(f"listener {listener}: listening on ([0-9.]+):([0-9]+)", self.said)
        return (found[1], int(found[2])) if found else None

    def write(self, code: str) -> None:
        """Replace the program on disk."""
        (self.folder / "run.py").write_text(code)

    def configure(self, text: str = "", workers: int | None = None) -> None:
        """Replace the configuration on disk: a listener, a route, and more. @param workers: None: as before."""
        self._workers = workers or self._workers
        (self.folder / "proxy.toml").write_text(
            f'workers = {self._workers}\n[admin]\nendpoint = "unix:{self.folder}/admin"\n'
            '[access_log]\npath = "access.log"\n'
            f'[[listener]]\nname = "main"\nendpoint = "{self.endpoint}"\n'
            f'[[route]]\nserver_name = "{NAME}"\ntarget = "{self.backend.address}"\n{text}'
        )

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the output has a text. @param times: so often."""
        self.until(lambda: self.said.count(text) >= times, text)

    def until(self, holds: Callable[[], object], what: object) -> None:
        """Wait for a condition. @param what: described in the error."""
        until = time.monotonic() + WAIT_TIMEOUT_S
        while not holds():
            assert time.monotonic() < until, f"no {what}: {self.said}"
            self._never.wait(POLL_S)

    def upgrade(self) -> dict[str, Any]:
        """Upgrade by the admin endpoint. @raise AdminError: the upgrade has failed."""
        return upgrade(self.admin, timeout=WAIT_TIMEOUT_S)

    def refused(self) -> str:
        """Upgrade, and assert that it fails. @return: the reason."""
        try:
            done = self.upgrade()
        except AdminError as error:
            return str(error)
        raise AssertionError(f"upgraded: {done}; {self.said}")

    def started(self) -> int:
        """Wait for the start of a new process. @return: its process id; of the last one, if there were more."""
        self.wait_for("upgrade: started process ")
        return int(self.said.rpartition("started process ")[2].split()[0])

    def status(self) -> dict[str, Any]:
        return fetch_status(self.admin)

    def wait_for_status(self, name: str, holds: Callable[[Any], object]) -> Any:
        """Wait until a value of the status document meets a condition. @return: the value."""
        self.until(lambda: holds(self.status()[name]), name)
        return self.status()[name]

    def connect(self) -> socket.socket:
        """A client's connection."""
        if self.address is None:
            client = socket.socket(socket.AF_UNIX)
            self._case.addCleanup(client.close)
            client.settimeout(TIMEOUT_S)
            client.connect(self.endpoint.removeprefix("unix:"))
            return client
        client = socket.create_connection(self.address, TIMEOUT_S)
        self._case.addCleanup(client.close)
        return client

    def open(self, name: str = NAME) -> Ends:
        """Open a tunnel."""
        client = self.connect()
        client.sendall(hello(name=name))
        return self.opened(client, name)

    def opened(self, client: socket.socket, name: str = NAME) -> Ends:
        """The tunnel of a client that has sent its hello."""
        target = self.backend.accept()
        self._case.addCleanup(target.close)
        assert read_exactly(target, len(hello(name=name))) == hello(name=name)
        return Ends(client, target)

    def wait_for_state(self, process: int, *states: str) -> None:
        """Wait until a process is in one of these states; see L{state}."""
        self.until(lambda: state(process) in states, f"process {process} in state {states}")

    def wait_for_end(self, process: int) -> None:
        """Wait for the end of a process."""
        self.wait_for_state(process, "", "Z")

    def records(self) -> list[str]:
        """The lines of the access log."""
        return (self.folder / "access.log").read_text().splitlines()

    def _end(self) -> None:
        for path in self.folder.glob("*.pid"):
            with suppress(OSError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)


def state(process: int) -> str:
    """The state of a process as proc(5) has it, such as C{T}: stopped. Empty: it does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def running(process: int) -> bool:
    """Whether a process runs: it exists, and has not ended with its status uncollected."""
    return state(process) not in ("", "Z")


def has(process: int, client: socket.socket) -> bool:
    """Whether a process has the other end of a client's TCP connection over loopback."""
    port = f":{client.getsockname()[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(port)}
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            if os.readlink(descriptor) in inodes:
                return True
    return False
