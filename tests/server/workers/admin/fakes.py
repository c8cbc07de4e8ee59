"""Workers without processes, for the supervisor's admin endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, fail, succeed

from sniproxy.server.workers.admin.link import NoReply, Reply


class AskedWorker:
    """Answers as a test says.

    @ivar asked: the method, path and query of each request.
    @ivar answers: by path: a reply, a document, a reason for no answer, or what makes one of these from the query.
    """

    def __init__(self, index: int = 0, **answers: Any) -> None:
        self.index = index
        self.pid = 100 + index
        self.ready = True
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, Any] = {f"/{path}": answer for path, answer in answers.items()}

    def ask(self, method: str, path: str, timeout: float, max_bytes: int) -> Deferred[Reply]:
        """The answer to a request."""
        name, _, query = path.partition("?")
        found = {key: values[-1] for key, values in parse_qs(query).items()}
        self.asked.append((method, name, found))
        answer = self.answers.get(name, Reply(404, b"not found\n"))
        if callable(answer):
            answer = answer(found)
        if isinstance(answer, Deferred):
            return answer
        if isinstance(answer, NoReply):
            return fail(answer)
        return succeed(answer if isinstance(answer, Reply) else Reply(200, json.dumps(answer).encode()))


def drain_state(name: str, rate: float, kind: str = "route", since: float = 50.0, left: int = 3) -> dict[str, Any]:
    """The state of a drain, as a worker answers it."""
    return {
        "kind": kind, "name": name, "since": since, "rate": rate, "closed": 1, "refused": 2, "left": left,
        "clients": ["192.0.2.1:5"],
    }  # fmt: skip


def draining(kind: str = "route", since: float = 50.0) -> Callable[[Mapping[str, str]], Any]:
    """Answers C{/drain} with a state."""
    return lambda query: drain_state(query["name"], float(query["rate"]), query.get("kind", kind), since)
