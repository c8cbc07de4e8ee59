"""Where a worker's process begins: ``python -m sniproxy.server.workers.entrance``, with the arguments of twistd."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import MutableMapping

STACK_SIGNAL = signal.SIGUSR2
"""A worker writes the stacks of its threads to its log at this signal, also while its event loop is blocked."""


def prepare(environment: MutableMapping[str, str], pid: int) -> None:
    """Make sockets that systemd passed to the supervisor this process's own, too (sd_listen_fds(3)).

    Before Twisted is imported, which looks for them then.
    """
    if "LISTEN_FDS" in environment:
        environment["LISTEN_PID"] = str(pid)


if __name__ == "__main__":
    # A Ctrl-C on the terminal is for the supervisor, which tells its workers what to do.
    os.setsid()
    faulthandler.register(STACK_SIGNAL)
    prepare(os.environ, os.getpid())
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    run()
