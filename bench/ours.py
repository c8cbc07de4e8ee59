"""Our proxy as one of the compared ones: with the relay that it chooses, with a named one, or of an older revision."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import evolve

from bench import ROOT, pythons, relays
from bench.peer import Peer, Plan


def ours(program: str, plan: Plan) -> list[str]:
    """``twistd sniproxy`` with a route for each name, by the `pythons.chosen` Python."""
    head = f"workers = {plan.workers}\n" if plan.workers > 1 else ""
    path = plan.write("sniproxy.toml", head + routes(plan))
    python = pythons.chosen().program
    return [python, program, "-n", "--pidfile=", f"--logfile={plan.folder / 'log'}", "sniproxy", "--config", str(path)]


def our_log(folder: Path) -> str:
    """The log of `ours` so far."""
    try:
        return (folder / "log").read_text(errors="replace")
    except FileNotFoundError:
        return ""


def our_peer(name: str, needs: str, relay: str | None = None, root: Callable[[], Path] = lambda: ROOT) -> Peer:
    """A peer with our proxy. ``relay``: asked for, and no other is measured. ``root``: the code to run."""
    peer = Peer(
        name,
        needs,
        partial(_beside_python, "twistd"),
        ours,
        ("sniproxy", "--version"),
        lambda workers: 1 if workers == 1 else 1 + workers,
        lambda folder: "] ready: " in our_log(folder),  # not that of a worker, "] worker 0: ready: "
        lambda folder: None if relay is None else relays.refused(our_log(folder), relay),
        lambda folder: relays.serving(our_log(folder)),
        root,
        lambda folder: pythons.environment(root(), folder),
    )
    return peer if relay is None else with_toml(peer, f'relay = "{relay}"\n')


def with_toml(peer: Peer, top: str = "", more: str = "") -> Peer:
    """One of our peers with TOML at the top of its file, and with TOML appended."""

    def start(program: str, plan: Plan) -> list[str]:
        command = peer.start(program, plan)
        path = Path(command[-1])
        path.write_text(top + path.read_text() + more)
        return command

    return evolve(peer, start=start)


def routes(plan: Plan) -> str:
    """A listener and a route for each name, as TOML."""
    found = (f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n' for name, port in plan.names.items())
    return f'[[listener]]\nendpoint = "tcp:{plan.port}:interface=127.0.0.1"\n[timeouts]\nidle = 3600\n{"".join(found)}'


def _beside_python(name: str) -> str | None:
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None
