"""Runs the real clients, each in a process that prints a JSON object per topic."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers import provide
from tests.peers.children import Child
from tests.peers.jvm import java_command
from tests.peers.versions import Pulsar

#: Seconds that a client may run. Each client has shorter timeouts of its own.
LONGEST = 120.0


@frozen
class Outcome:
    """The outcome of a client."""

    #: One for each topic: `topic`, and `sent`, `received`, `partitions`, `owner` or `error`, `root`.
    reports: list[dict[str, Any]]
    status: int
    #: Its errors and log.
    log: str

    @property
    def complete(self) -> list[str]:
        """The topics whose messages have all come back."""
        return [report["topic"] for report in self.reports if report.get("received", 0) == report.get("sent", -1)]


def java_client(
    options: Mapping[str, object], topics: Sequence[str], pulsar: Pulsar | None = None, main: str = "PulsarPeer"
) -> list[str]:
    """The command of the Java client. java/PulsarPeer.java lists its options.

    `pulsar`: the client's version. None: that of this run. `main`: another class, with options of its own.
    """
    arguments = [f"{name}={_word(value)}" for name, value in options.items()]
    return [*java_command(main, "160m", "warn", pulsar), *arguments, f"topics={','.join(topics)}"]


def python_client(options: Mapping[str, object], topics: Sequence[str]) -> list[str]:
    """The command of the Python client. python_client.py lists its options."""
    interpreter = provide.part("python").path / "bin" / "python"
    script = provide.HERE / "python_client.py"
    return [str(interpreter), str(script), *_flags("--", options), *topics]


def go_client(options: Mapping[str, object], topics: Sequence[str]) -> list[str]:
    """The command of the Go client. go/main.go lists its options."""
    return [str(provide.part("go").path / "go-client"), *_flags("-", options), *topics]


def _flags(dash: str, options: Mapping[str, object]) -> list[str]:
    return [f"{dash}{name}={_word(value)}" for name, value in options.items()]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(command: Sequence[str]) -> Outcome:
    """Run a client to its end. Raises subprocess.TimeoutExpired after LONGEST."""
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LONGEST,
    )  # fmt: skip
    return _outcome(done.stdout.splitlines(), done.returncode, done.stderr)


class Sender:
    """A client with the option for endless sending. It sends until `finish`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._child = Child(command)

    def wait_until_sending(self) -> None:
        """Wait until 50 more messages are confirmed. Raises ChildError."""
        enough = self._said(self._child.lines) + 2
        self._child.wait_for(lambda lines: self._said(lines) >= enough, "sending", LONGEST)

    def _said(self, lines: Sequence[str]) -> int:
        return sum(line.startswith('{"sending"') for line in lines)

    @property
    def log(self) -> list[str]:
        """The lines of its log so far."""
        return [line for line in self._child.lines if not line.startswith('{"')]

    def finish(self) -> Outcome:
        """Send and receive the last messages. Errors are in the log, too."""
        self._child.write("\n")
        status = self._child.wait(LONGEST)
        return _outcome(self._child.lines, status, "")

    def stop(self) -> None:
        """Stop it. Can be repeated."""
        self._child.stop()


def _outcome(lines: Sequence[str], status: int, errors: str) -> Outcome:
    return Outcome(
        reports=[json.loads(line) for line in lines if line.startswith('{"topic"')],
        status=status,
        log="\n".join([line for line in lines if not line.startswith('{"topic"')] + [errors]),
    )


def write_hosts(file: Path, names: Sequence[str]) -> None:
    """The text of an /etc/hosts with the names and localhost at 127.0.0.1."""
    file.write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
