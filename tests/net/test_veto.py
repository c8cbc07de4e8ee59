"""The proxy's own listeners as targets, and the policy."""

from __future__ import annotations

import errno
import os
import socket

from twisted.trial.unittest import TestCase

from sniproxy.interfaces import Target
from sniproxy.net.veto import DestinationVeto, LoopGuard
from sniproxy.routing.policy import Policy


class LoopGuardTests(TestCase):
    """Resolved addresses that are listeners of the proxy."""

    def test_same_address(self) -> None:
        """The address and port of a listener match in any spelling; other ports and addresses do not."""
        guard = LoopGuard([("127.0.0.1", 4443), ("2001:db8::7", 4443)])
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "2001:db8::7", "2001:DB8:0::7"):
            self.assertEqual("a listener of this proxy (loop)", guard.denies(host, 4443))
        self.assertEqual({4443}, guard.ports)
        for host, port in (("127.0.0.1", 4444), ("127.0.0.2", 4443), ("2001:db8::8", 4443)):
            self.assertIsNone(guard.denies(host, port))

    def test_listening_on_all(self) -> None:
        """A listener on all addresses matches each address of this machine, and no other."""
        for everywhere in ("0.0.0.0", "::"):
            guard = LoopGuard([(everywhere, 4443)])
            for host in ("127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", own_address()):
                self.assertIsNotNone(guard.denies(host, 4443), host)
            for host in ("192.0.2.7", "2001:db8::7"):
                self.assertIsNone(guard.denies(host, 4443), host)

    def test_dialling_the_unspecified_address(self) -> None:
        """0.0.0.0 as a target is this machine, and so matches a listener on loopback."""
        self.assertIsNotNone(LoopGuard([("127.0.0.1", 4443)]).denies("0.0.0.0", 4443))

    def test_settled(self) -> None:
        """An answer depends on this machine's addresses if the listener, or the target, has all addresses."""
        guard = LoopGuard([("0.0.0.0", 1), ("::", 2), ("127.0.0.1", 3)])
        for host, port, settled in (
            ("192.0.2.7", 1, False),
            ("192.0.2.7", 2, False),
            ("192.0.2.7", 3, True),
            ("127.0.0.1", 3, True),
            ("0.0.0.0", 3, False),
            ("192.0.2.7", 4, True),
        ):
            self.assertEqual(settled, guard.is_settled(host, port), (host, port))

    def test_no_such_family(self) -> None:
        """Without IPv6 in the kernel an IPv6 address is not local; without a descriptor the guard raises OSError."""
        guard = LoopGuard([("0.0.0.0", 4443)])

        def fail_with(number: int) -> None:
            def fail(*args: object) -> None:
                raise OSError(number, os.strerror(number))

            self.patch(socket, "socket", fail)

        fail_with(errno.EAFNOSUPPORT)
        self.assertIsNone(guard.denies("2001:db8::7", 4443))
        fail_with(errno.EMFILE)
        self.assertRaises(OSError, guard.denies, "192.0.2.7", 4443)

    def test_added_later(self) -> None:
        """Listeners are added as they are bound."""
        guard = LoopGuard()
        self.assertIsNone(guard.denies("127.0.0.1", 4443))
        guard.add("127.0.0.1", 4443)
        self.assertIsNotNone(guard.denies("127.0.0.1", 4443))

    def test_change(self) -> None:
        """The listeners of a new configuration replace the previous ones."""
        guard = LoopGuard([("127.0.0.1", 4443)])
        guard.change([("127.0.0.1", 4444)])
        self.assertIsNone(guard.denies("127.0.0.1", 4443))
        self.assertIsNotNone(guard.denies("127.0.0.1", 4444))
        self.assertEqual({4444}, guard.ports)


class DestinationVetoTests(TestCase):
    """Loops and the policy together."""

    def test_loop(self) -> None:
        """A listener of the proxy is denied once its address is known, also for written targets."""
        veto = DestinationVeto(LoopGuard([("127.0.0.1", 4443)]), Policy())
        target = Target("own.test", 4443)
        self.assertIsNone(veto.denies(target, None))
        self.assertIsNone(veto.denies(target, "127.0.0.2"))
        self.assertIn("(loop)", veto.denies(target, "127.0.0.1") or "")

    def test_policy(self) -> None:
        """The policy checks client-formed targets before and after the lookup; without a policy all are allowed."""
        guard = LoopGuard()
        formed = Target("a.test", 6651, client_formed=True)
        veto = DestinationVeto(guard, Policy())
        self.assertIsNone(veto.denies(formed, None))
        self.assertIn("private", veto.denies(formed, "10.0.0.7") or "")
        self.assertIn("allow_ports", veto.denies(Target("a.test", 22, client_formed=True), None) or "")
        self.assertIsNone(veto.denies(Target("a.test", 22), "10.0.0.7"))
        self.assertIsNone(DestinationVeto(guard).denies(formed, "10.0.0.7"))


def own_address() -> str:
    """An address of this machine besides loopback, if it has a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
