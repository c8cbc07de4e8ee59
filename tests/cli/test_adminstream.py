"""Tests for sniproxy.cli.adminstream, with a server that answers with given bytes."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.adminclient import AdminError, ErrorStatus, NotFoundError
from sniproxy.cli.adminstream import AdminStream
from tests.support.sockets import TIMEOUT_S

OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A chunk of an answer."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class StreamTests(SynchronousTestCase):
    """AdminStream."""

    def stream(self, answer: bytes, ends: bool = True, path: str = "") -> AdminStream:
        """Open a stream. @param answer: of the server. @param ends: the server closes the connection behind it."""
        server = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.addCleanup(server.close)
        server.settimeout(TIMEOUT_S)
        server.bind(path or ("127.0.0.1", 0))
        server.listen(1)
        url = f"unix:{path}" if path else f"http://127.0.0.1:{server.getsockname()[1]}/proxy/"

        def serve() -> None:
            sock, _ = server.accept()
            self.addCleanup(sock.close)
            self.said = sock.recv(4096)
            sock.sendall(answer)
            if ends:
                sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join, TIMEOUT_S)
        found = AdminStream(url, "record", [("a", "b c")], "secret")
        self.addCleanup(found.close)
        return found

    def test_messages(self) -> None:
        """Messages come one by one, in whatever chunks, until the end of the answer."""
        stream = self.stream(OK + chunk(b'{"a": 1}\n{"b"') + chunk(b": 2}\n") + b"0\r\n\r\n")
        self.assertEqual([{"a": 1}, {"b": 2}], list(stream.messages(None)))
        self.assertIn(b"POST /proxy/record?a=b+c HTTP/1.1\r\n", self.said)
        self.assertIn(b"Authorization: Bearer secret\r\n", self.said)

    def test_unix(self) -> None:
        """A Unix socket."""
        folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, folder)
        self.addCleanup(os.unlink, f"{folder}/admin")
        stream = self.stream(OK + chunk(b"{}\n") + b"0\r\n\r\n", path=f"{folder}/admin")
        self.assertEqual([{}], list(stream.messages(None)))
        self.assertIn(b"POST /record?a=b+c HTTP/1.1\r\nHost: localhost\r\n", self.said)

    def test_proxy_ends(self) -> None:
        """The end of the proxy in the middle ends the messages."""
        stream = self.stream(OK + chunk(b"{}\n"))
        self.assertEqual([{}], list(stream.messages(None)))

    def test_time(self) -> None:
        """The time that is over ends the messages, before and while it waits for one."""
        stream = self.stream(OK + chunk(b"{}\n"), ends=False)
        times = iter([0.0, 0.0, 9.99])
        self.assertEqual([{}], list(stream.messages(10.0, lambda: next(times))))
        times = iter([0.0, 10.0])
        self.assertEqual([], list(stream.messages(10.0, lambda: next(times))))

    def test_wrong(self) -> None:
        """An answer that is no message, a status, and an address are errors."""
        for body in (b"no\n", b"[]\n"):
            stream = self.stream(OK + chunk(body))
            self.assertRaises(AdminError, list, stream.messages(None))
        for code, kind in ((404, NotFoundError), (409, ErrorStatus)):
            answer = b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nwhy\n" % code
            error = self.assertRaises(kind, self.stream, answer)
            self.assertEqual((code, "why"), (error.code, error.text))
        for url in ("ftp://x", "http://x:y", "unix:/nowhere/at/all", "nothing"):
            self.assertRaises(AdminError, AdminStream, url, "record", [], None)
        self.assertRaises(AdminError, self.stream, b"SSH-2.0\r\n")
