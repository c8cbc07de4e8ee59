"""Dropping capabilities, in a child process."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import capabilities
from tests.relay.kernel.support import sockmap

PROGRAM = """
import os, sys
from sniproxy.relay.kernel.capabilities import CAP_BPF, CAP_NET_ADMIN, drop, effective
from sniproxy.relay.kernel.factory import KernelRelayUnavailable, KernelRelayFactory
from sniproxy.relay.kernel.loop import Loop
from sniproxy.relay.kernel.selftest import STEPS, LoopbackTunnel
loop = Loop()
factory = KernelRelayFactory(loop, 8)
assert drop(CAP_NET_ADMIN, CAP_BPF)
assert not drop(CAP_NET_ADMIN, CAP_BPF)
assert not effective() & (1 << CAP_BPF | 1 << CAP_NET_ADMIN)
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
for step in STEPS:
    tunnel = LoopbackTunnel(loop, factory)
    step(tunnel)
    tunnel.close()
try:
    KernelRelayFactory(loop, 8)
except KernelRelayUnavailable as error:
    print(error)
"""


class CapabilityTests(SynchronousTestCase):
    """capset(2)."""

    def test_forwards_without(self) -> None:
        """A loaded program works without the capabilities, also for new tunnels; another one cannot be loaded."""
        sockmap()
        ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
        self.assertEqual((0, ""), (ran.returncode, ran.stderr))
        self.assertIn("needs CAP_BPF and CAP_NET_ADMIN", ran.stdout)

    def test_nothing_to_give_up(self) -> None:
        """Dropping a capability that the process does not have changes nothing."""
        before = capabilities.effective()
        self.assertFalse(capabilities.drop(63))
        self.assertEqual(before, capabilities.effective())

    def test_refused(self) -> None:
        """An error is logged."""

        def refused(*bits: int) -> bool:
            raise PermissionError(1, os.strerror(1))

        self.patch(capabilities, "drop", refused)
        with capturedLogs() as logged:
            capabilities.drop_loading_capabilities()
        self.assertEqual(["cannot drop CAP_NET_ADMIN and CAP_BPF: {why}"], [event["log_format"] for event in logged])
