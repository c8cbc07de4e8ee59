"""The main module of a worker: ``python -m sniproxy.server.workers.entrance``, with the arguments of twistd."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import MutableMapping

STACK_SIGNAL = signal.SIGUSR2
"""At this signal a worker writes the stacks of its threads to its log, even if its event loop is blocked."""


def prepare(environment: MutableMapping[str, str], pid: int) -> None:
    """Let this process use the sockets that systemd passed to the supervisor (sd_listen_fds(3)).

    Call this before the first import of Twisted, which looks for them.
    """
    if "LISTEN_FDS" in environment:
        environment["LISTEN_PID"] = str(pid)


if __name__ == "__main__":
    # A Ctrl-C on the terminal must reach the supervisor only, which then stops its workers.
    os.setsid()
    faulthandler.register(STACK_SIGNAL)
    prepare(os.environ, os.getpid())
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    run()
