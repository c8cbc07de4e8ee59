"""How each proxy is replaced while it runs: ours by an upgrade, HAProxy and nginx as their manuals recommend.

Ways whose name ends in ``-stop`` end what the old process still serves, as operators configure it: HAProxy's
``hard-stop-after``, nginx's ``worker_shutdown_timeout``. In the others old processes stay until their last tunnel ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from bench import ROOT, pythons
from bench.childprocess import LoadError
from bench.measure import family
from bench.ours import our_peer, with_toml
from bench.peer import Peer, Plan
from bench.peers import PEERS
from bench.relays import PYTHON
from bench.running import Running

_TIMEOUT_S = 120.0
_ATTEMPTS = 10
_POLL_INTERVAL_S = 0.1
_ADMIN = '[admin]\nendpoint = "unix:{folder}/admin.sock:mode=600"\n'


@frozen
class Way:
    """A way to replace a proxy. ``upgrade``: replaces the running one, and returns when the new one runs.

    ``expected``: processes after an upgrade, if none of the old ones is left. ``stop_after``: whether old processes
    have a deadline, the seconds that `ways` got. ``once``: it cannot be done again before the old process has ended.
    """

    name: str
    title: str
    peer: Peer
    upgrade: Callable[[Running], None]
    expected: int = 1
    stop_after: bool = False
    workers: int = 1
    once: bool = False


def ways(stop_after: int = 60) -> dict[str, Way]:
    """All ways by name, ours first. ``stop_after``: seconds that old processes have, where that is configured."""
    haproxy, nginx = PEERS["haproxy"], PEERS["nginx"]
    hard_stop, shutdown = f"  hard-stop-after {stop_after}s\n", f"worker_shutdown_timeout {stop_after}s;\n"
    found = [
        Way("ours", "sniproxyctl upgrade", _ours(None), _upgrade_ours),
        Way("ours-python", "sniproxyctl upgrade", _ours(PYTHON), _upgrade_ours),
        Way("ours-workers", "sniproxyctl upgrade, workers = 2", _ours(None), _upgrade_ours, 3, workers=2),
        Way("haproxy", "HAProxy: reload (USR2)", _haproxy(haproxy, "", master=True), _reload_haproxy, 2),
        Way("haproxy-sf", "HAProxy: new process, -x and -sf", _haproxy(haproxy, ""), _replace_haproxy),
        Way("nginx", "nginx: reload (HUP)", _nginx(nginx, ""), _reload_nginx, 2),
        Way(
            *("nginx-binary", "nginx: new binary (USR2, WINCH, QUIT)", _daemon(_nginx(nginx, "")), _replace_nginx),
            expected=2,
            once=True,  # nginx ignores USR2 while its parent is the old master
        ),
    ]
    stopping = {
        "haproxy": _haproxy(haproxy, hard_stop, master=True),
        "haproxy-sf": _haproxy(haproxy, hard_stop),
        "nginx": _nginx(nginx, shutdown),
        "nginx-binary": _daemon(_nginx(nginx, shutdown)),
    }
    option = {"h": "hard-stop-after", "n": "worker_shutdown_timeout"}
    for way in found[3:]:
        title = f"{way.title}, {option[way.name[0]]} {stop_after} s"
        more = evolve(way, name=f"{way.name}-stop", title=title, peer=stopping[way.name], stop_after=True)
        found.append(more)
    return {way.name: way for way in found}


def processes(folder: Path) -> list[int]:
    """The processes of a proxy that runs with files in the folder, old and new ones."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.fsencode(folder) in (entry / "cmdline").read_bytes() and int(entry.name) not in found:
                    found.update(family(int(entry.name)))
    return sorted(pid for pid in found if _runs(pid))


def kill(folder: Path) -> None:
    """Kill the processes of a proxy that runs with files in the folder, old and new ones."""
    for pid in processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop(running: Running) -> None:
    """End a proxy with all its processes, old and new ones."""
    kill(running.folder)
    running.stop()


def wait_until(true: Callable[[], bool], what: str, seconds: float = _TIMEOUT_S) -> None:
    """Poll a condition. Raises `LoadError`, with ``what``, if it stays false."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise LoadError(f"{what}: not within {seconds:.0f} s")
        time.sleep(_POLL_INTERVAL_S)


def _ours(relay: str | None) -> Peer:
    peer = our_peer("ours", "this checkout", relay)

    def start(program: str, plan: Plan) -> list[str]:
        return with_toml(peer, more=_ADMIN.format(folder=plan.folder)).start(program, plan)

    return evolve(peer, start=start)


def _upgrade_ours(running: Running) -> None:
    program = str(Path(sys.executable).with_name("sniproxyctl"))
    command = [pythons.chosen().program, program, "upgrade", "--config", str(running.folder / "sniproxy.toml")]
    environment = pythons.environment(ROOT, running.folder)
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        why = (done.stdout + done.stderr).strip()
        log = (running.folder / "said").read_text(errors="replace").splitlines()[-9:]
        raise LoadError("\n".join([f"sniproxyctl upgrade: status {done.returncode}: {why}", *log]))


def _haproxy(peer: Peer, more: str, master: bool = False) -> Peer:
    """With a socket that passes listening sockets on, and lines for its section ``global``."""

    def start(program: str, plan: Plan) -> list[str]:
        command = peer.start(program, plan)
        path = Path(command[-1])
        socket = f"  stats socket {plan.folder}/haproxy.sock mode 600 level admin expose-fd listeners\n"
        path.write_text(path.read_text().replace("global\n", f"global\n{socket}{more}", 1))
        return [command[0], "-W", *command[1:]] if master else command

    return evolve(peer, start=start, processes=lambda workers: 2 if master else 1)


def _reload_haproxy(running: Running) -> None:
    # A master that executes itself again, as it does after its start, has no command line for a moment.
    before = {running.main, *processes(running.folder)}

    def reloaded() -> bool:
        return bool(set(processes(running.folder)) - before)

    # A master that has just started loses signals while it executes itself again.
    for _ in range(_ATTEMPTS):
        os.kill(running.main, signal.SIGUSR2)
        with suppress(LoadError):
            wait_until(reloaded, "a new worker of HAProxy", _TIMEOUT_S / _ATTEMPTS)
            return
    raise LoadError(f"no new worker of HAProxy within {_TIMEOUT_S:.0f} s")


def _replace_haproxy(running: Running) -> None:
    old = [str(pid) for pid in processes(running.folder)]
    command = [*running.command, "-x", f"{running.folder}/haproxy.sock", "-sf", *old]
    subprocess.run(["/bin/sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *command], timeout=_TIMEOUT_S, check=True)
    wait_until(lambda: bool(set(processes(running.folder)) - set(map(int, old))), "a new HAProxy")


def _nginx(peer: Peer, more: str) -> Peer:
    """With lines for its main context."""

    def start(program: str, plan: Plan) -> list[str]:
        command = peer.start(program, plan)
        path = Path(command[-1])
        path.write_text(path.read_text().replace("events {", f"{more}events {{", 1))
        return command

    return evolve(peer, start=start)


def _daemon(peer: Peer) -> Peer:
    """nginx in the background, because it ignores USR2 and WINCH in the foreground; a shell waits in its place."""

    def start(program: str, plan: Plan) -> list[str]:
        command = peer.start(program, plan)
        path = Path(command[-1])
        path.write_text(path.read_text().replace("daemon off;", "daemon on;", 1))
        return ["/bin/sh", "-c", '"$@" && exec sleep 86400', "sh", *command]

    return evolve(peer, start=start, processes=lambda workers: 1, ready=lambda folder: bool(_pid(folder / "nginx.pid")))


def _reload_nginx(running: Running) -> None:
    before = set(processes(running.folder))
    os.kill(running.main, signal.SIGHUP)
    wait_until(lambda: bool(set(processes(running.folder)) - before), "a new worker of nginx")


def _replace_nginx(running: Running) -> None:
    file = running.folder / "nginx.pid"
    old = _pid(file)
    before = set(processes(running.folder))

    def replaced() -> bool:
        if _pid(file) not in (0, old):
            return True
        os.kill(old, signal.SIGUSR2)  # nginx ignores it while the process that has started it lives, and once it acts
        return False

    wait_until(replaced, "a new nginx")
    wait_until(lambda: len(set(processes(running.folder)) - before) >= 2, "a worker of the new nginx")
    os.kill(old, signal.SIGWINCH)
    os.kill(old, signal.SIGQUIT)


def _pid(file: Path) -> int:
    """The number in a pid file; 0: it has none yet."""
    try:
        return int(file.read_text() or 0)
    except FileNotFoundError:
        return 0


def _runs(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
