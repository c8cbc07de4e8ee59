"""Calls of bpf(2)."""

from __future__ import annotations

import errno
import os
import platform

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import bpf
from sniproxy.relay.kernel.assembly import assemble, exit_program
from tests.relay.kernel.support import sockmap


class CallTests(SynchronousTestCase):
    """Errors of the kernel raise OSError."""

    def test_unknown_machine(self) -> None:
        """On another machine or system nothing is called, and the error says so."""
        for machine in ("pdp11", "aarch64"):
            self.patch(platform, "machine", lambda machine=machine: machine)
            error = self.assertRaises(OSError, bpf.create_map, bpf.HASH, 4, 4, 1)
            self.assertIn(machine, str(error))

    def test_map(self) -> None:
        """Entries are set and deleted; deleting a missing entry fails."""
        sockmap()
        descriptor = bpf.create_map(bpf.HASH, 8, 4, 1)
        self.addCleanup(os.close, descriptor)
        bpf.update(descriptor, b"8 bytes.", b"four")
        error = self.assertRaises(OSError, bpf.update, descriptor, b"another.", b"four")
        self.assertEqual(errno.E2BIG, error.errno)
        bpf.delete(descriptor, b"8 bytes.")
        error = self.assertRaises(OSError, bpf.delete, descriptor, b"8 bytes.")
        self.assertEqual(errno.ENOENT, error.errno)

    def test_program_refused(self) -> None:
        """A program that the verifier rejects fails with the verifier's message."""
        sockmap()
        error = self.assertRaises(OSError, bpf.load_program, assemble([exit_program()]))
        self.assertIn("R0", str(error))
