"""Tests for sniproxy.server.workers.entrance."""

from __future__ import annotations

import faulthandler
import os
import runpy
import sys
import warnings

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.entrance import STACK_SIGNAL, prepare


class PrepareTests(SynchronousTestCase):
    """prepare: sockets that systemd passed."""

    def test_passed(self) -> None:
        """The process may use passed sockets; without any the environment stays unchanged."""
        environment = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
        prepare(environment, 4711)
        self.assertEqual({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "LISTEN_PID": "4711"}, environment)
        environment = {}
        prepare(environment, 4711)
        self.assertEqual({}, environment)


class MainTests(SynchronousTestCase):
    """The main module."""

    def test_run(self) -> None:
        """A worker has its own session, dumps stacks at a signal, takes passed sockets, and runs as twistd."""
        did: list[object] = []
        self.patch(os, "setsid", lambda: did.append("setsid"))
        self.patch(faulthandler, "register", lambda number: did.append(number))
        self.patch(os, "environ", {"LISTEN_FDS": "2"})
        self.patch(sys, "argv", ["-m", "--config", "x.toml"])
        self.patch(twistd, "run", lambda: did.append((list(sys.argv), os.environ["LISTEN_PID"])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the module has been imported before
            runpy.run_module("sniproxy.server.workers.entrance", run_name="__main__")
        self.assertEqual(["setsid", STACK_SIGNAL, (["twistd", "--config", "x.toml"], str(os.getpid()))], did)
