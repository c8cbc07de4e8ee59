"""Runs the real clients, each in a process that prints one JSON object a topic."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers import provide
from tests.peers.children import Child
from tests.peers.cluster import java_command

#: Seconds that a client may run; each has shorter limits of its own.
LONGEST = 120.0


@frozen
class Outcome:
    """What a client did."""

    #: One for each topic: `topic`, and `sent`, `received`, `partitions`, `owner` or `error`, `root`.
    reports: list[dict[str, Any]]
    status: int
    #: Its errors and log, for people.
    log: str


def java_client(options: Mapping[str, object], topics: Sequence[str]) -> list[str]:
    """The command that runs the Java client; java/PulsarPeer.java tells its options."""
    arguments = [f"{name}={_word(value)}" for name, value in options.items()]
    return [*java_command("PulsarPeer", "160m", "warn"), *arguments, f"topics={','.join(topics)}"]


def python_client(options: Mapping[str, object], topics: Sequence[str]) -> list[str]:
    """The command that runs the Python client; python_client.py tells its options."""
    interpreter = provide.part("python").path / "bin" / "python"
    script = provide.HERE / "python_client.py"
    return [str(interpreter), str(script), *_flags("--", options), *topics]


def go_client(options: Mapping[str, object], topics: Sequence[str]) -> list[str]:
    """The command that runs the Go client; go/main.go tells its options."""
    return [str(provide.part("go").path / "go-client"), *_flags("-", options), *topics]


def _flags(dash: str, options: Mapping[str, object]) -> list[str]:
    return [f"{dash}{name}={_word(value)}" for name, value in options.items()]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(command: Sequence[str]) -> Outcome:
    """Runs a client to its end.

    Raises subprocess.TimeoutExpired after LONGEST.
    """
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LONGEST,
    )  # fmt: skip
    return _outcome(done.stdout.splitlines(), done.returncode, done.stderr)


class Sender:
    """An endless client (the option of that name), which sends until it is told to finish."""

    def __init__(self, command: Sequence[str]) -> None:
        self._child = Child(command)

    def wait_until_sending(self) -> None:
        """At least 50 messages more have been confirmed. Raises ChildError."""
        enough = self._said(self._child.lines) + 2
        self._child.wait_for(lambda lines: self._said(lines) >= enough, "sending", LONGEST)

    def _said(self, lines: Sequence[str]) -> int:
        return sum(line.startswith('{"sending"') for line in lines)

    def finish(self) -> Outcome:
        """It sends its last messages, and receives all; its errors are in the log, too."""
        self._child.write("\n")
        status = self._child.wait(LONGEST)
        return _outcome(self._child.lines, status, "")

    def stop(self) -> None:
        """Ends it; again is no harm."""
        self._child.stop()


def _outcome(lines: Sequence[str], status: int, errors: str) -> Outcome:
    return Outcome(
        reports=[json.loads(line) for line in lines if line.startswith('{"topic"')],
        status=status,
        log="\n".join([line for line in lines if not line.startswith('{"topic"')] + [errors]),
    )


def write_hosts(file: Path, names: Sequence[str]) -> None:
    """An /etc/hosts in which the names, and localhost, are 127.0.0.1."""
    file.write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
