"""What a supervisor hands over, for tests."""

from __future__ import annotations

from typing import Any

from sniproxy.server.workers.handover import AdminState, Handover, Pause, Result, Sockets, WorkerState

TEXT = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n'


def worker_state(index: int = 0, **changes: Any) -> WorkerState:
    """A worker that is ready."""
    values: dict[str, Any] = {
        "index": index, "pid": 100 + index, "status": None, "since": 5.0, "pause": 0.0, "ready": True, "error": "",
        "counts": "[1, 0, 0]", "pipes": {2: 20, 4: 21, 5: 22}, "orders": 4, "unsent": b"", "log": b"", "reports": b"",
        "admin": 23, "limit": None,
    }  # fmt: skip
    return WorkerState(**{**values, **changes})


def admin_state(**changes: Any) -> AdminState:
    """An admin endpoint that nothing has asked."""
    values: dict[str, Any] = {
        "endpoint": None, "socket": None, "drains": (), "started": 1.0, "since": 2.0, "reloads": (0, 0, None, None),
        "totals": {}, "metrics": "", "answers": (),
    }  # fmt: skip
    return AdminState(**{**values, **changes})


def handover(**changes: Any) -> Handover:
    """One worker, a second one that is to be started again, and an old one."""
    values: dict[str, Any] = {
        "version": 1,
        "release": "1.0",
        "text": TEXT,
        "workers": (worker_state(), worker_state(pid=99, sockets=Sockets(None, {"tcp:4443": 31}))),
        "pauses": (Pause(1, 2.0, 4.0),),
        "sockets": {0: Sockets(30, {}), 1: Sockets(None, {"tcp:4443": 32})},
        "admin": admin_state(endpoint="unix:a", socket=40, answers=(41,)),
        "result": Result(2, 6, 1, 0.5),
        "reload": False,
        "pid_file": "",
    }
    return Handover(**{**values, **changes})
