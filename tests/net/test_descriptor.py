"""Plain sockets in the reactor."""

from __future__ import annotations

import errno
import socket

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from sniproxy.net.descriptor import SocketDescriptor, how_broken, pending_error
from tests.support.sockets import connected, reset


class DescriptorTests(TestCase):
    """What the reactor asks of a descriptor."""

    def test_interface(self) -> None:
        """It has all that the reactor calls, and keeps its number after the socket is closed."""
        with socket.socket() as sock:
            descriptor = SocketDescriptor(sock)
            number = sock.fileno()
        verifyObject(IReadWriteDescriptor, descriptor)
        self.assertEqual((number, "SocketDescriptor"), (descriptor.fileno(), descriptor.logPrefix()))

    def test_not_for_this(self) -> None:
        """A subclass that registers for what it does not do hears of it."""
        with socket.socket() as sock:
            self.assertRaises(AssertionError, SocketDescriptor(sock).doRead)
            self.assertRaises(AssertionError, SocketDescriptor(sock).doWrite)

    def test_pending_error(self) -> None:
        """The error that waits in a socket, and a reset when none can be had."""
        theirs, ours = connected()
        with ours:
            self.assertEqual(errno.ECONNRESET, pending_error(ours).errno)
            reset(theirs)
            self.assertEqual(errno.ECONNRESET, pending_error(ours).errno)
        self.assertEqual(errno.EBADF, pending_error(ours).errno)

    def test_how_broken(self) -> None:
        """A reset is named as such, whichever call found it; another error has the system's text."""
        for number in (errno.ECONNRESET, errno.EPIPE):
            self.assertEqual("the client's connection was reset", how_broken("client", OSError(number, "x")))
        lost = "the target's connection was lost: "
        self.assertEqual(
            lost + "Connection timed out", how_broken("target", OSError(errno.ETIMEDOUT, "Connection timed out"))
        )
        self.assertEqual(lost + "Input/output error", how_broken("target", OSError()))
