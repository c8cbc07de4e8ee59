"""The proxies of a run, in the other namespace: ours in each of its ways, and HAProxy."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from attrs import define, field, frozen

from sniproxy.testing.pulsar.certificates import Authority
from tests.chaos.load import BRIDGE, PASS, TARGET_PORTS, TLS, Door
from tests.chaos.wire import CLIENTS, PROXIES, Wire
from tests.support.twistdprocess import ENVIRONMENT, TWISTD

NAME = "broker-1.chaos.test"
START_S = 60.0
STOP_S = 60.0
POLL_S = 0.02

HAPROXY = "haproxy"
ENGINE, PYTHON, TERMINATED, WORKERS, BRIDGED = "engine", "python", "tls", "workers", "bridge"
_ENGINE_PORT = 4443
PORTS = {ENGINE: _ENGINE_PORT, PYTHON: 4444, TERMINATED: 4445, WORKERS: 4446, BRIDGED: 6650, HAPROXY: 4447}
WAYS = tuple(PORTS)
"""All ways through a proxy."""

_ROUTE = f"""
[[listener]]
endpoint = "tcp:{{port}}"
{{more}}
[[route]]
server_name = "{NAME}"
target = "{CLIENTS}:{{target}}"
"""

_BRIDGE = f"""
[[bridge]]
endpoint = "tcp:{{port}}"
service_url = "pulsar+ssl://{NAME}:{TARGET_PORTS[BRIDGE]}"
proxy_service_url = "pulsar+ssl://{CLIENTS}:{TARGET_PORTS[BRIDGE]}"
proxy_protocol = "SNI"
trust = "{{folder}}/ca.pem"
allow = ["{NAME}:{TARGET_PORTS[BRIDGE]}"]
"""

_HAPROXY = f"""
global
  maxconn 5000
defaults
  mode tcp
  option splice-auto
  timeout connect 10s
  timeout client 300s
  timeout server 300s
frontend clients
  bind {PROXIES}:{{port}} backlog 1024
  tcp-request inspect-delay {{hello}}s
  tcp-request content accept if {{{{ req_ssl_hello_type 1 }}}}
  use_backend one if {{{{ req_ssl_sni -i {NAME} }}}}
backend one
  server one {CLIENTS}:{{target}}
"""


def haproxy_program() -> str | None:
    """Where HAProxy is. None: it is not installed."""
    return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@frozen
class Way:
    """One way through a proxy. ``name``: of `WAYS`. ``hello``: its timeout; None: the default, for HAProxy 5 s."""

    name: str
    port: int
    hello: float | None = None

    @property
    def kind(self) -> str:
        """What it does with TLS."""
        return {TERMINATED: TLS, BRIDGED: BRIDGE}.get(self.name, PASS)

    @property
    def door(self) -> Door:
        """Where its clients connect."""
        return Door(self.name, self.port, self.kind, NAME)

    @property
    def label(self) -> str:
        """Unique in a run, for names of files."""
        return f"{self.name}-{self.port}"

    def configuration(self, folder: Path) -> str:
        """Its configuration file."""
        target = TARGET_PORTS[self.kind]
        if self.name == HAPROXY:
            return _HAPROXY.format(port=self.port, target=target, hello=round(self.hello or 5))
        top = f'relay = "{self.name if self.name in (ENGINE, PYTHON) else "auto"}"\n'
        more = ""
        if self.name == WORKERS:
            top += "workers = 2\n"
        if self.kind == TLS:
            more = f'certificates = "{folder}/proxy.pem"\nupstream_trust = "{folder}/ca.pem"'
        if self.kind == BRIDGE:
            text = _BRIDGE.format(port=self.port, folder=folder)
        else:
            text = _ROUTE.format(port=self.port, target=target, more=more)
        timeouts = "drain = 5\n" + (f"hello = {self.hello}\n" if self.hello is not None else "")
        return f'{top}{text}\n[timeouts]\n{timeouts}\n[access_log]\npath = "{folder}/{self.label}.jsonl"\n'


@define
class Proxy:
    """A running proxy. ``log``: the path of its access log."""

    way: Way
    process: subprocess.Popen[bytes]
    log: Path
    _said: Path
    _file: IO[bytes] = field(repr=False)

    def said(self) -> str:
        """Its output so far."""
        return self._said.read_text(errors="replace")

    def stop(self) -> None:
        """Let it end, and kill it if it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
        self._file.close()


def write_certificates(folder: Path) -> None:
    """Write ``ca.pem``, and ``proxy.pem``, which a proxy and the targets have."""
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "proxy.pem").write_bytes(authority.issue([NAME]).pem)


def start(ways: Sequence[Way], wire: Wire, folder: Path) -> list[Proxy]:
    """Start the proxies in the other namespace, all at once, and wait until they listen.

    Raises `RuntimeError` with its output if one does not start.
    """
    found = []
    with wire.other_side():
        for way in ways:
            file = folder / f"{way.label}.conf"
            file.write_text(way.configuration(folder))
            said = folder / f"{way.label}.said"
            out = said.open("wb")
            command = [*TWISTD, "--config", str(file)]
            if way.name == HAPROXY:
                command = [haproxy_program() or HAPROXY, "-db", "-f", str(file)]
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=ENVIRONMENT)
            found.append(Proxy(way, process, folder / f"{way.label}.jsonl", said, out))
    until = time.monotonic() + START_S
    for proxy in found:
        _wait(proxy, until, lambda proxy=proxy: _ready(proxy, wire))  # type: ignore[misc]
    return found


def _ready(proxy: Proxy, wire: Wire) -> bool:
    if proxy.way.name != HAPROXY:
        return "] ready:" in proxy.said()  # not that of a worker
    with wire.other_side():
        return f":{proxy.way.port:04X} " in Path("/proc/thread-self/net/tcp").read_text()


def _wait(proxy: Proxy, until: float, done: Callable[[], bool]) -> None:
    while not done():
        if proxy.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{proxy.way.name} did not start: {proxy.said()}")
        with suppress(subprocess.TimeoutExpired):
            proxy.process.wait(POLL_S)


def workers_of(supervisor: int) -> list[int]:
    """The child processes of a supervisor."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == supervisor and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)
