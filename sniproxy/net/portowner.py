"""Finds the process that listens on a busy port. Linux only: reads ``/proc`` (proc(5))."""

from os import readlink
from pathlib import Path

_LISTEN = "0A"
_SHOWN = 120


def port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """The process that listens on a TCP port of this machine, for example ``pid 4711 (nginx -g daemon off;)``.

    If another user's process may not be inspected, the text has that user's id. None: no process listens, or there is
    no `proc`. A command line is cut after 120 characters, and unprintable characters are escaped.
    """
    sockets = _listening(port, proc)
    if not sockets:
        return None
    links = {f"socket:[{inode}]" for inode in sockets}
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if any(link in links for link in _descriptors(process)):
            return f"pid {process.name} ({_command_line(process)})"
    user = next(iter(sockets.values()))
    return f"a process of user id {user}, whose details only that user or root can read"


def _listening(port: int, proc: Path) -> dict[str, str]:
    """The listening sockets of a port: inode -> user id."""
    found = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            # sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found[fields[9]] = fields[7]
    return found


def _descriptors(process: Path) -> list[str]:
    """The destinations of a process's descriptors. Empty: the process has ended or is not readable."""
    links = []
    try:
        for descriptor in (process / "fd").iterdir():
            links.append(readlink(descriptor))
    except OSError:
        pass
    return links


def _command_line(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "has just ended"
    line = b" ".join(words).decode("ascii", "backslashreplace")
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line[: _SHOWN + 1])
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
