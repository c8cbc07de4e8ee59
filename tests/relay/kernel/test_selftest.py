"""The self-test: it passes on a good kernel, and each fault that it covers makes it fail."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import program, selftest
from sniproxy.relay.kernel import sockmap as sockmap_module
from sniproxy.relay.kernel.assembly import R0, R1, Instruction, move, move_constant
from sniproxy.relay.kernel.factory import KernelRelayUnavailable
from sniproxy.relay.kernel.flow import Flow
from sniproxy.relay.kernel.relay import KernelRelay
from tests.relay.kernel.support import sockmap
from tests.support.sockets import links, opened_since


def ungated(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program without its first rule: it redirects while the process has bytes."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield each if (each.opcode, each.jump_to) != (0x5D, "count") else move(R1, R1)


def silent(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program without notifications."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield each if (each.opcode, each.constant) != (0x85, 130) else move_constant(R0, 0)


def passing_ends(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program, but it passes a bare FIN."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield attrs.evolve(each, constant=1) if each.label == "drop" else each


class ProveTests(SynchronousTestCase):
    """selftest.run."""

    def test_good(self) -> None:
        """It passes on a suitable kernel, and leaves nothing open."""
        sockmap()
        before = links()
        selftest.run()
        self.assertEqual(opened_since(before), {})

    def test_old_kernel(self) -> None:
        """A kernel before 6.6, or another system, is refused without a test."""
        for release in ("6.5.13-generic", "5.15.0", "what"):
            self.patch(platform, "release", lambda release=release: release)
            error = self.assertRaises(KernelRelayUnavailable, selftest.run)
            self.assertIn(release, str(error))

    def test_other_machine(self) -> None:
        """Another machine is refused without a test, whatever its kernel."""
        self.patch(platform, "release", lambda: "6.18.0")
        for machine in ("aarch64", "riscv64"):
            self.patch(platform, "machine", lambda machine=machine: machine)
            error = self.assertRaises(KernelRelayUnavailable, selftest.run)
            self.assertEqual(f"needs an x86-64 machine; this is {machine}", str(error))

    def fails(self, step: str) -> None:
        before = links()
        error = self.assertRaises(KernelRelayUnavailable, selftest.run)
        self.assertIn(f"self-test failed in {step}: ", str(error))
        self.assertEqual(opened_since(before), {})

    def test_nothing_forwarded(self) -> None:
        """A kernel that redirects nothing fails."""
        sockmap()
        self.patch(sockmap_module.Counters, "open_window", lambda row, budget: None)
        self.fails("order")

    def test_overtaken(self) -> None:
        """Reordered bytes fail."""
        sockmap()
        self.patch(Flow, "all_written", lambda flow: True)
        self.patch(sockmap_module, "instructions", ungated)
        self.fails("order")

    def test_nobody_rings(self) -> None:
        """A kernel that does not notify fails, and so does one that notifies only once."""
        sockmap()
        self.patch(selftest, "TIMEOUT_S", 1.0)
        patched = self.patch(sockmap_module, "instructions", silent)
        self.fails("order")
        patched.restore()
        self.patch(sockmap_module.Counters, "acknowledge", lambda row: None)
        self.fails("order")

    def test_an_end_is_lost(self) -> None:
        """A lost FIN fails."""
        sockmap()
        self.patch(selftest, "TIMEOUT_S", 3.0)
        self.patch(KernelRelay, "_end_flow", lambda relay, flow: None)
        self.fails("ends")

    def test_it_never_ends(self) -> None:
        """A relay that does not end fails."""
        sockmap()
        self.patch(selftest, "TIMEOUT_S", 0.5)
        self.patch(KernelRelay, "_finish", lambda relay, ending: None)
        self.fails("sequence")

    def test_no_sequence_numbers(self) -> None:
        """A kernel with sequence numbers elsewhere fails, because duplicates would be missed."""
        sockmap()
        self.patch(program, "_SEQUENCE", 52)
        self.fails("sequence")

    def test_a_bare_end_breaks_its_socket(self) -> None:
        """A kernel that breaks a socket at a bare FIN fails."""
        sockmap()
        self.patch(sockmap_module, "instructions", passing_ends)
        self.fails("waiting")

    def test_a_reset_becomes_an_end(self) -> None:
        """A reset that becomes a FIN fails."""
        sockmap()

        def gentle(relay: Any, side: Any, ending: Any) -> None:
            relay._close(ending)

        self.patch(KernelRelay, "_abort", gentle)
        self.fails("reset")
