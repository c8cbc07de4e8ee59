"""Plain sockets as descriptors of the reactor."""

from __future__ import annotations

import errno
import socket

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from sniproxy.net.descriptor import SocketDescriptor, how_broken, pending_error
from tests.support.sockets import connected, reset


class DescriptorTests(TestCase):
    """The methods that the reactor calls."""

    def test_interface(self) -> None:
        """It has the methods that the reactor calls, and keeps its number after a close."""
        with socket.socket() as sock:
            descriptor = SocketDescriptor(sock)
            number = sock.fileno()
        verifyObject(IReadWriteDescriptor, descriptor)
        self.assertEqual((number, "SocketDescriptor"), (descriptor.fileno(), descriptor.logPrefix()))

    def test_not_for_this(self) -> None:
        """A subclass without doRead or doWrite gets an error if the reactor calls it."""
        with socket.socket() as sock:
            self.assertRaises(AssertionError, SocketDescriptor(sock).doRead)
            self.assertRaises(AssertionError, SocketDescriptor(sock).doWrite)

    def test_pending_error(self) -> None:
        """The pending error of a socket, or a reset if there is none."""
        theirs, ours = connected()
        with ours:
            self.assertEqual(errno.ECONNRESET, pending_error(ours).errno)
            reset(theirs)
            self.assertEqual(errno.ECONNRESET, pending_error(ours).errno)
        self.assertEqual(errno.EBADF, pending_error(ours).errno)

    def test_how_broken(self) -> None:
        """A reset has the same text after every call; other errors have the system's text."""
        for number in (errno.ECONNRESET, errno.EPIPE):
            self.assertEqual("the client's connection was reset", how_broken("client", OSError(number, "x")))
        lost = "the target's connection was lost: "
        self.assertEqual(
            lost + "Connection timed out", how_broken("target", OSError(errno.ETIMEDOUT, "Connection timed out"))
        )
        self.assertEqual(lost + "Input/output error", how_broken("target", OSError()))
