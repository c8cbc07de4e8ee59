"""Dialling from a client's address: which addresses, which capability, and a whole proxy between two networks."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from sniproxy.net.transparent import CannotBind, NoSource, bind_to_client, client_source, why_not_from, why_unavailable
from tests.support import clientnetworks, programs
from tests.support.twistdprocess import ENVIRONMENT


class FakeSocket:
    """Records calls. @param errors: errnos to raise, by the name of the call."""

    def __init__(self, family: int = socket.AF_INET, **errors: int) -> None:
        self.family = family
        self.calls: list[tuple[object, ...]] = []
        self._errors = errors

    def _call(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self._errors:
            raise OSError(self._errors[name], os.strerror(self._errors[name]))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._call("setsockopt", level, option, value)

    def bind(self, address: object) -> None:
        self._call("bind", address)

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *error: object) -> None:
        self.calls.append(("close",))


class SourceTests(SynchronousTestCase):
    """The address that a client's targets are dialled from."""

    def test_address(self) -> None:
        """It is the client's, without its port; IPv4 in IPv6 is IPv4."""
        for client, source in (
            ("192.0.2.7:50123", "192.0.2.7"),
            ("[2001:db8::7]:50123", "2001:db8::7"),
            ("[::ffff:192.0.2.7]:50123", "192.0.2.7"),
            ("127.0.0.1:1", "127.0.0.1"),
        ):
            self.assertEqual(source, client_source(client))

    def test_none(self) -> None:
        """A unix socket has none; unspecified, broadcast, multicast and link-local addresses cannot be used."""
        error = self.assertRaises(NoSource, client_source, "unix")
        self.assertEqual("the client of a unix socket has no address", str(error))
        for host in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.1.1", "[::]", "[ff02::1]", "[fe80::7%eth0]"):
            error = self.assertRaises(NoSource, client_source, f"{host}:50123")
            self.assertIn(f"the client's address {host.strip('[]').partition('%')[0]} is not that", str(error))

    def test_families(self) -> None:
        """A client reaches addresses of its own family only, and loopback only itself."""
        for source, host, why in (
            ("192.0.2.7", "10.0.0.7", None),
            ("2001:db8::7", "fd00::7", None),
            ("192.0.2.7", "127.0.0.1", None),
            ("127.0.0.1", "127.0.0.2", None),
            ("::1", "fe80::7%eth0", "not dialled from the client ::1: a loopback address has no way to other hosts"),
            ("192.0.2.7", "fd00::7", "not dialled from the client 192.0.2.7: it has no IPv6 address"),
            ("2001:db8::7", "10.0.0.7", "not dialled from the client 2001:db8::7: it has no IPv4 address"),
            ("127.0.0.1", "10.0.0.7", "not dialled from the client 127.0.0.1: a loopback address has no way to "),
        ):
            found = why_not_from(source, host)
            self.assertEqual(why is None, found is None, (source, host))
            self.assertIn(why or "", found or "")


class BindTests(SynchronousTestCase):
    """Giving a socket the client's address."""

    def test_options(self) -> None:
        """The socket becomes transparent before it is bound, with the port left to the connect."""
        for family, host, level, option in (
            (socket.AF_INET, "192.0.2.7", socket.IPPROTO_IP, 19),
            (socket.AF_INET6, "2001:db8::7", socket.IPPROTO_IPV6, 75),
        ):
            sock = FakeSocket(family)
            bind_to_client(sock, host)  # type: ignore[arg-type]
            self.assertEqual(
                [
                    ("setsockopt", level, option, 1),
                    ("setsockopt", socket.IPPROTO_IP, 24, 1),
                    ("bind", (host, 0)),
                ],
                sock.calls,
            )

    def test_errors(self) -> None:
        """The error names the client, and the capability if that is missing."""
        for errors, why in (
            ({"setsockopt": errno.EPERM}, "this process has neither CAP_NET_RAW nor CAP_NET_ADMIN"),
            ({"bind": errno.EADDRNOTAVAIL}, "Cannot assign requested address"),
        ):
            error = self.assertRaises(CannotBind, bind_to_client, FakeSocket(**errors), "192.0.2.7")
            self.assertEqual(
                (next(iter(errors.values())), f"cannot dial from the client 192.0.2.7: {why}"),
                (error.errno, error.strerror),
            )


class AvailableTests(SynchronousTestCase):
    """Whether this process may do it."""

    def sockets(self, *sockets: FakeSocket | None) -> None:
        """Let the system make these sockets, on Linux. None: it lacks the family."""
        waiting = iter(sockets)

        def make(family: int) -> FakeSocket:
            sock = next(waiting)
            if sock is None:
                raise OSError(errno.EAFNOSUPPORT, "no")
            self.assertEqual(sock.family, family)
            return sock

        self.patch(socket, "socket", make)
        self.patch(sys, "platform", "linux")

    def test_right(self) -> None:
        """A transparent socket is tried, and closed."""
        sock = FakeSocket()
        self.sockets(sock)
        self.assertIsNone(why_unavailable())
        self.assertEqual([("setsockopt", socket.IPPROTO_IP, 19, 1), ("close",)], sock.calls)

    def test_without_ipv4(self) -> None:
        """On a system without IPv4, one of IPv6 is tried."""
        sock = FakeSocket(socket.AF_INET6)
        self.sockets(None, sock)
        self.assertIsNone(why_unavailable())
        self.assertEqual(("setsockopt", socket.IPPROTO_IPV6, 75, 1), sock.calls[0])

    def test_errors(self) -> None:
        """The reason says the cause and the cure."""
        self.sockets(FakeSocket(setsockopt=errno.EPERM), FakeSocket(setsockopt=errno.ENOPROTOOPT))
        self.assertIn("neither CAP_NET_RAW nor CAP_NET_ADMIN; add CAP_NET_RAW, as by Ambient", why_unavailable() or "")
        self.assertEqual(
            "this system cannot dial from a client's address: Protocol not available", why_unavailable() or ""
        )
        self.patch(sys, "platform", "darwin")
        self.assertEqual("only Linux can dial from a client's address; remove it", why_unavailable())


class NetworksTests(TestCase):
    """A client, a proxy and a target in network namespaces of their own."""

    def test_addresses(self) -> None:
        """The target sees the client's address: IPv4, IPv6, and as a PROXY protocol header says."""
        if why := clientnetworks.why_not():
            raise SkipTest(why)
        command = clientnetworks.inside()
        said = programs.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
        self.assertEqual(0, said.returncode, said.stdout)
