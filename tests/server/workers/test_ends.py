"""Tests for sniproxy.server.workers.ends."""

from __future__ import annotations

import signal

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.ends import describe_end


class DescribeTests(SynchronousTestCase):
    """describe_end."""

    def test_texts(self) -> None:
        """An exit, an exit with a status, and a signal."""
        for reason, text in (
            (ProcessDone(0), "exited"),
            (ProcessTerminated(3), "exited with status 3"),
            (ProcessTerminated(signal=signal.SIGKILL), "was killed by SIGKILL"),
            (OSError("lost"), "exited: lost"),
            (None, "exited: None"),
        ):
            self.assertEqual(text, describe_end(reason))
