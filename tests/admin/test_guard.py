"""Tests for sniproxy.admin.guard."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.guard import HEADERS, change_refusal, host_refusal, origin_refusal

NAMES = frozenset({"proxy-1.example.com"})


def refusal(hosts: Sequence[bytes], origins: Sequence[bytes], address: str | None, names: frozenset[str]) -> str | None:
    """Why a request is refused."""
    return host_refusal(hosts, address, names) or origin_refusal(hosts, origins)


class GuardTests(SynchronousTestCase):
    """Which requests are allowed."""

    def answered(
        self, hosts: Sequence[bytes], origins: Sequence[bytes] = (), address: str | None = "127.0.0.1"
    ) -> bool:
        return refusal(hosts, origins, address, NAMES) is None

    def test_ours(self) -> None:
        """The local address, localhost and configured names are valid, with any port."""
        for host in (b"127.0.0.1", b"127.0.0.1:9090", b"localhost:8080", b"LOCALHOST", b"Proxy-1.Example.com:9090"):
            self.assertTrue(self.answered([host]), host)
        self.assertTrue(self.answered([b"[::1]:9090"], address="::1"))
        self.assertTrue(self.answered([b"[0:0::1]:9090"], address="::1"))
        self.assertTrue(self.answered([b"10.0.0.7:9090"], address="::ffff:10.0.0.7"))
        self.assertTrue(self.answered([b"localhost"], address=None))

    def test_foreign(self) -> None:
        """Other names, other addresses and invalid hosts are refused."""
        for host in (
            b"evil.test", b"evil.test:9090", b"127.0.0.1.evil.test", b"localhost.evil.test", b"10.0.0.7", b"", b":9090",
            b"[::1]", b"127.0.0.1:x", b"evil@127.0.0.1", b"127.0.0.1/evil", b"127.0.0.1, evil.test", b"\xff\xfe",
            b"localhost\n", b"[127.0.0.1", b"[]", b"2130706433", b"0x7f000001",
        ):  # fmt: skip
            self.assertFalse(self.answered([host]), host)
        self.assertFalse(self.answered([b"127.0.0.1"], address=None))

    def test_no_host(self) -> None:
        """A health check with HTTP/1.0 and without a Host is allowed: browsers always send one."""
        self.assertTrue(self.answered([]))

    def test_two_hosts(self) -> None:
        """Duplicate headers are refused: a proxy may have checked the other one."""
        self.assertFalse(self.answered([b"127.0.0.1", b"127.0.0.1"]))
        self.assertFalse(self.answered([b"127.0.0.1"], [b"http://127.0.0.1", b"http://127.0.0.1"]))

    def test_own_origin(self) -> None:
        """The scripts of the page are allowed, also behind a TLS proxy."""
        self.assertTrue(self.answered([b"localhost:9090"], [b"http://localhost:9090"]))
        self.assertTrue(self.answered([b"proxy-1.example.com"], [b"https://Proxy-1.example.com"]))

    def test_foreign_origin(self) -> None:
        """Other sites, other ports and the null origin are refused."""
        for origin in (b"http://evil.test", b"http://localhost", b"http://localhost:9091", b"null", b"", b"file://"):
            self.assertFalse(self.answered([b"localhost:9090"], [origin]), origin)
        self.assertFalse(self.answered([b"localhost"], [b"ftp://localhost"]))
        self.assertFalse(self.answered([], [b"http://"]))

    def test_changes(self) -> None:
        """A request that changes state needs the Unix socket or the token, and a Host."""
        host, token = [b"localhost"], b"0123456789abcdef"
        self.assertIsNone(change_refusal(host, True, [], None))
        self.assertIsNone(change_refusal(host, True, [], token))
        self.assertIn("needs a token or a Unix socket", str(change_refusal(host, False, [], None)))
        for good in (b"Bearer 0123456789abcdef", b"bearer  0123456789abcdef "):
            self.assertIsNone(change_refusal(host, False, [good], token), good)
            self.assertIn("needs a token", str(change_refusal(host, False, [good], None)))
            self.assertIn("missing or wrong token", str(change_refusal(host, False, [good, good], token)))
        for bad in (b"", b"Bearer", b"Bearer ", b"Bearer 0123456789abcdeF", b"Basic 0123456789abcdef", token, b"\xff"):
            self.assertIn("missing or wrong token", str(change_refusal(host, False, [bad], token)), bad)
        for unix in (True, False):
            self.assertEqual("no Host header", change_refusal([], unix, [b"Bearer 0123456789abcdef"], token))

    @given(st.binary(max_size=40), st.none() | st.binary(max_size=40))
    def test_any_bytes(self, host: bytes, origin: bytes | None) -> None:
        """Arbitrary headers get an answer that does not repeat them."""
        why = refusal([host], [] if origin is None else [origin], "192.0.2.1", frozenset())
        self.assertIn(
            why,
            (
                None,
                "Origin is another site",
                "Host is not a name of this endpoint: use its address or localhost, or add the name to [admin] hosts",
            ),
        )

    def test_headers(self) -> None:
        """Answers have a strict content policy, are not cached, and have no CORS headers."""
        self.assertTrue(HEADERS[b"Content-Security-Policy"].startswith(b"default-src 'self';"))
        self.assertEqual((b"nosniff", b"no-store"), (HEADERS[b"X-Content-Type-Options"], HEADERS[b"Cache-Control"]))
        self.assertEqual([], [name for name in HEADERS if name.lower().startswith(b"access-control")])
