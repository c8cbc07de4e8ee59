"""The self-test: it is good where the kernel is, and each fault that it is there for makes it fail."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import gate as gates
from sniproxy.relay.kernel import program, selftest
from sniproxy.relay.kernel.assembly import R0, R1, Instruction, move, move_constant
from sniproxy.relay.kernel.flow import Flow
from sniproxy.relay.kernel.forwarding import CannotForward
from sniproxy.relay.kernel.relay import KernelRelay
from tests.relay.kernel.support import gate
from tests.support.sockets import links, opened_since


def ungated(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program without its first rule: it redirects while something is on its way through our process."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield each if (each.opcode, each.label) != (0x5D, "count") else move(R1, R1)


def silent(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program, but it does not ring."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield each if (each.opcode, each.constant) != (0x85, 130) else move_constant(R0, 0)


def passing_ends(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program, but it passes a bare end."""
    for each in program.instructions(slots, rows, sockets, ring):
        yield attrs.evolve(each, constant=1) if each.name == "drop" else each


class ProveTests(SynchronousTestCase):
    """prove."""

    def test_good(self) -> None:
        """On a kernel that forwards it is silent, and leaves nothing behind."""
        gate()
        before = links()
        selftest.prove()
        self.assertEqual(opened_since(before), {})

    def test_old_kernel(self) -> None:
        """A kernel before 6.6, or another system, is not even tried."""
        for release in ("6.5.13-generic", "5.15.0", "what"):
            self.patch(platform, "release", lambda release=release: release)
            error = self.assertRaises(CannotForward, selftest.prove)
            self.assertIn(release, str(error))

    def test_other_machine(self) -> None:
        """A machine on which it was never tried is not even tried, though its kernel has all that it takes."""
        self.patch(platform, "release", lambda: "6.18.0")
        for machine in ("aarch64", "riscv64"):
            self.patch(platform, "machine", lambda machine=machine: machine)
            error = self.assertRaises(CannotForward, selftest.prove)
            self.assertEqual(f"this machine is {machine}: it has been tried on x86-64 only", str(error))

    def fails(self, step: str) -> None:
        before = links()
        error = self.assertRaises(CannotForward, selftest.prove)
        self.assertIn(f"its self-test failed in {step}: ", str(error))
        self.assertEqual(opened_since(before), {})

    def test_nothing_forwarded(self) -> None:
        """A kernel that passes everything would be no faster than we are."""
        gate()
        self.patch(gates.Row, "open", lambda row, budget: None)
        self.fails("order")

    def test_overtaken(self) -> None:
        """Bytes that overtake others are found."""
        gate()
        self.patch(Flow, "settle", lambda flow: True)
        self.patch(gates, "instructions", ungated)
        self.fails("order")

    def test_nobody_rings(self) -> None:
        """A kernel that does not tell what it has passed is found, and one that tells it only once."""
        gate()
        self.patch(selftest, "TIMEOUT_S", 1.0)
        patched = self.patch(gates, "instructions", silent)
        self.fails("order")
        patched.restore()
        self.patch(gates.Row, "hear", lambda row: None)
        self.fails("order")

    def test_an_end_is_lost(self) -> None:
        """An end that never comes out is found."""
        gate()
        self.patch(selftest, "TIMEOUT_S", 3.0)
        self.patch(KernelRelay, "_end_flow", lambda relay, flow: None)
        self.fails("ends")

    def test_it_never_ends(self) -> None:
        """A relay that does not even end when it is told to is found as other faults are."""
        gate()
        self.patch(selftest, "TIMEOUT_S", 0.5)
        self.patch(KernelRelay, "_finish", lambda relay, ending: None)
        self.fails("sequence")

    def test_no_sequence_numbers(self) -> None:
        """A kernel that has them elsewhere is found: the program would not see what comes twice."""
        gate()
        self.patch(program, "_SEQUENCE", 52)
        self.fails("sequence")

    def test_a_bare_end_breaks_its_socket(self) -> None:
        """A kernel that breaks a socket at an end behind which bytes wait is found."""
        gate()
        self.patch(gates, "instructions", passing_ends)
        self.fails("waiting")

    def test_a_reset_becomes_an_end(self) -> None:
        """A reset that comes out as an end is found."""
        gate()

        def gentle(relay: Any, side: Any, ending: Any) -> None:
            relay._close(ending)

        self.patch(KernelRelay, "_abort", gentle)
        self.fails("reset")
