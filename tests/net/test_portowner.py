"""Tests for sniproxy.net.portowner."""

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.net.portowner import port_owner

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, user: int, inode: int, address: str = "0100007F") -> str:
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000"
        f"  {user}        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )


class RealTests(SynchronousTestCase):
    """holder, for this process."""

    def setUp(self) -> None:
        if not Path("/proc/net/tcp").exists():
            raise SkipTest("needs Linux's /proc")

    def listen(self, family: socket.AddressFamily, host: str) -> socket.socket:
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        try:
            sock.bind((host, 0))
        except OSError as error:
            raise SkipTest(f"{host}: {error}")
        return sock

    def test_listening(self) -> None:
        """A listening socket is found, with the pid and the command line of its process."""
        sock = self.listen(socket.AF_INET, "127.0.0.1")
        sock.listen()
        found = port_owner(sock.getsockname()[1])
        assert found is not None
        self.assertTrue(found.startswith(f"pid {os.getpid()} ("), found)
        first = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
        self.assertIn(first[:100], found)

    def test_listening_on_ipv6(self) -> None:
        """A listening IPv6 socket is found, too."""
        sock = self.listen(socket.AF_INET6, "::1")
        sock.listen()
        self.assertIn(f"pid {os.getpid()} (", str(port_owner(sock.getsockname()[1])))

    def test_nobody(self) -> None:
        """A port without a listener has no owner."""
        sock = self.listen(socket.AF_INET, "127.0.0.1")
        self.assertIsNone(port_owner(sock.getsockname()[1]))


class MadeTests(SynchronousTestCase):
    """holder, with a fake /proc."""

    def setUp(self) -> None:
        self.proc = Path(self.mktemp())
        (self.proc / "net").mkdir(parents=True)

    def process(self, pid: int, cmdline: bytes, *links: str) -> None:
        (self.proc / str(pid) / "fd").mkdir(parents=True)
        (self.proc / str(pid) / "cmdline").write_bytes(cmdline)
        for number, link in enumerate(links):
            (self.proc / str(pid) / "fd" / str(number)).symlink_to(link)

    def test_only_listeners(self) -> None:
        """A connection on the port and listeners on other ports are ignored."""
        (self.proc / "net" / "tcp").write_text(HEADER + row(4443, "01", 0, 11) + row(4444, "0A", 0, 12))
        self.process(1, b"init", "socket:[11]", "socket:[12]")
        self.assertIsNone(port_owner(4443, self.proc))

    def test_the_right_process(self) -> None:
        """Among several processes, the one with the socket is named."""
        (self.proc / "net" / "tcp").write_text(HEADER)
        (self.proc / "net" / "tcp6").write_text(HEADER + row(4443, "0A", 0, 13, "0" * 32))
        self.process(1, b"init\0", "/dev/null")
        self.process(77, b"haproxy\0-f\0my.cfg\0", "/dev/null", "socket:[13]")
        self.assertEqual(port_owner(4443, self.proc), "pid 77 (haproxy -f my.cfg)")

    def test_somebody_elses(self) -> None:
        """For a process whose descriptors cannot be read, the user is named."""
        (self.proc / "net" / "tcp").write_text(HEADER + row(4443, "0A", 33, 14))
        (self.proc / "77").mkdir()
        self.assertIn("user id 33", str(port_owner(4443, self.proc)))

    def test_hostile_command_line(self) -> None:
        """A command line is bounded and escaped."""
        (self.proc / "net" / "tcp").write_text(HEADER + row(4443, "0A", 0, 15))
        self.process(9, b"evil\x1b[2J\n\xff\xc2\x9b" + b"x" * 5000, "socket:[15]")
        found = str(port_owner(4443, self.proc))
        self.assertTrue(found.isprintable() and found.isascii(), ascii(found))
        self.assertLess(len(found), 150)
        self.assertIn("evil\\x1b[2J\\n\\xff", found)

    def test_no_proc(self) -> None:
        """Without /proc there is no answer and no exception."""
        self.assertIsNone(port_owner(4443, self.proc / "absent"))
