"""Runs the installed HAProxy on whole configurations, and the proxy on what it imports from them."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy.config.schema import convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate import haproxy
from sniproxy.migrate.document import to_toml
from sniproxy.migrate.export.haproxy import write
from sniproxy.migrate.model import Exported, Notes, SourceFile
from sniproxy.migrate.ordering import ordered
from tests.peers.children import TIMEOUT_S, Child
from tests.support.differential import reached
from tests.support.twistdprocess import ENVIRONMENT, TWISTD

REFUSED = "(refused)"


def folder(case: TestCase) -> Path:
    """A folder that is removed with the test; its path is short enough for a unix socket."""
    made = tempfile.TemporaryDirectory()
    case.addCleanup(made.cleanup)
    return Path(made.name)


def check(path: Path) -> str:
    """What C{haproxy -c} says against a configuration; empty: it accepts it."""
    done = subprocess.run(["haproxy", "-c", "-f", str(path)], capture_output=True, text=True, timeout=TIMEOUT_S)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def start_haproxy(case: TestCase, path: Path) -> Child:
    """Start HAProxy, and wait until it listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        # It tells systemd that it is ready; here the test is systemd.
        (path.parent / "notify").unlink(missing_ok=True)
        notified.bind(str(path.parent / "notify"))
        notified.settimeout(TIMEOUT_S)
        environment = {"NOTIFY_SOCKET": str(path.parent / "notify"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        child = Child(["haproxy", "-Ws", "-f", str(path)], cwd=path.parent, env=environment)
        case.addCleanup(child.stop)
        while b"READY=1" not in notified.recv(4096):
            pass
    return child


def imported(files: Iterable[Path]) -> tuple[str, Notes]:
    """The TOML and the report of C{sniproxyctl import}."""
    found = haproxy.read([SourceFile(str(file), file.read_text()) for file in files])
    names = [table.name or f"listener-{number}" for number, (_, table) in enumerate(found.listeners)]
    return to_toml(found, ordered(found.rules, names, found.report), []), found.report


def exported(text: str) -> Exported:
    """The configuration and the report of C{sniproxyctl export --to haproxy}."""
    return write(convert(loads(text), "sniproxy.toml"))


def start_ours(case: TestCase, text: str, ports: Mapping[int, int], path: Path) -> None:
    """Start the proxy on a configuration. @param ports: those of its listeners, and the ones to use instead."""
    for port, other in ports.items():
        text = re.sub(rf"\btcp:{port}\b", f"tcp:{other}", text)
    path.write_text(text)
    child = Child([*TWISTD, "--config", str(path)], env=ENVIRONMENT)
    case.addCleanup(child.stop)
    child.wait_for_text("ready:")


def where(port: int, name: str | None, source: str | None = None, client: str | None = None) -> str:
    """The backend that a hello reaches; L{REFUSED}, however the proxy refuses it.

    `client`: the address in a PROXY protocol header. None: no header.
    """
    header = b"" if client is None else f"PROXY TCP4 {client} 192.0.2.1 50123 4443\r\n".encode()
    answer = reached(("127.0.0.1", port), name, header, source)
    return REFUSED if answer.startswith(("alert ", "closed", "reset")) else answer
