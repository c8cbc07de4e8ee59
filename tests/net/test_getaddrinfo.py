"""The system's resolver, and the reasons of its failures."""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.getaddrinfo import Cause, LookupFailed, system_addresses

AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class SystemAddressesTests(SynchronousTestCase):
    """Addresses, or the reason for their absence."""

    def fails(self, error: Exception, took: float = 0.0) -> LookupFailed:
        def fail(*args: object, **more: object) -> None:
            raise error

        self.patch(socket, "getaddrinfo", fail)
        times = iter((0.0, took))
        found = system_addresses("a.test", lambda: next(times))
        assert isinstance(found, LookupFailed)
        return found

    def test_addresses(self) -> None:
        """Each address is returned once, in the system's order."""
        found = [(None, None, None, "", (address, 0)) for address in ("::1", "192.0.2.7", "::1")]
        self.patch(socket, "getaddrinfo", lambda *args, **more: found)
        self.assertEqual(["::1", "192.0.2.7"], system_addresses("a.test"))
        found.clear()
        empty = system_addresses("a.test")
        assert isinstance(empty, LookupFailed)
        self.assertIs(Cause.NO_ADDRESS, empty.cause)

    def test_causes(self) -> None:
        """Each error has its own text."""
        expected = {
            (socket.EAI_NONAME, 0.0): (Cause.NO_NAME, "no such host name"),
            (socket.EAI_NODATA, 0.0): (Cause.NO_ADDRESS, "the name has no address of IPv4 or IPv6"),
            (socket.EAI_ADDRFAMILY, 0.0): (Cause.NO_ADDRESS, "the name has no address of IPv4 or IPv6"),
            (socket.EAI_AGAIN, 0.1): (Cause.SERVER_FAILED, "the name servers failed or refused the query"),
            (socket.EAI_AGAIN, 10.01): (Cause.NO_ANSWER, "no name server answered within 10 s"),
            (socket.EAI_FAIL, 0.0): (Cause.SERVER_FAILED, "the name servers refused the query"),
            (socket.EAI_MEMORY, 0.0): (Cause.SYSTEM, "the system's resolver is out of memory"),
            (socket.EAI_SERVICE, 0.0): (Cause.SYSTEM, "the system's resolver failed (getaddrinfo error -8)"),
        }
        for (number, took), (cause, text) in expected.items():
            error = self.fails(socket.gaierror(number, "it failed"), took)
            self.assertEqual((cause, text), (error.cause, str(error)))

    def test_system_errors(self) -> None:
        """A system error is the reason."""
        error = self.fails(OSError(errno.EMFILE, "Too many open files"))
        self.assertEqual((Cause.NO_FILES, "too many open files: cannot look up the name"), (error.cause, str(error)))
        error = self.fails(OSError(errno.EACCES, "Permission denied"))
        self.assertEqual((Cause.SYSTEM, "cannot look up the name: Permission denied"), (error.cause, str(error)))

    def test_out_of_descriptors(self) -> None:
        """A missing descriptor is not reported as an unknown name."""

        def none_left(*args: object) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(socket, "socket", none_left)
        for number in (socket.EAI_NONAME, socket.EAI_AGAIN):
            self.assertIs(Cause.NO_FILES, self.fails(socket.gaierror(number, "it failed")).cause)

    def test_no_name(self) -> None:
        """Text that is not a valid DNS name is reported as such."""
        self.assertIs(Cause.NO_NAME, self.fails(UnicodeError("label too long")).cause)
