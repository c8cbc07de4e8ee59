"""Tests for sniproxy.resolvers.zookeeper.access."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.zookeeper.access import BadAccess, ZooKeeperCredentials
from sniproxy.tls.clientcontext import BadPem


class AccessTests(SynchronousTestCase):
    """Credentials from files."""

    def setUp(self) -> None:
        authority = trustme.CA()
        self.trust, self.own = Path(self.mktemp()), Path(self.mktemp())
        authority.cert_pem.write_to_path(str(self.trust))
        authority.issue_cert("me.test").private_key_and_cert_chain_pem.write_to_path(str(self.own))

    def text(self, content: bytes) -> str:
        file = Path(self.mktemp())
        file.write_bytes(content)
        return str(file)

    def test_nothing(self) -> None:
        """Without options it is plain TCP without authentication."""
        self.assertEqual((None, None), (ZooKeeperCredentials().context(), ZooKeeperCredentials().login()))

    def test_tls(self) -> None:
        """Certificates and host names are verified with the configured CAs only."""
        context = ZooKeeperCredentials(True, str(self.trust), str(self.own)).context()
        assert context is not None
        self.assertEqual((True, ssl.CERT_REQUIRED), (context.check_hostname, context.verify_mode))
        self.assertEqual(1, len(context.get_ca_certs()))
        self.assertTrue(context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN)
        self.assertFalse(context.verify_flags & ssl.VERIFY_X509_STRICT or context.hostname_checks_common_name)
        self.assertEqual(ssl.TLSVersion.TLSv1_2, context.minimum_version)
        self.assertIsNotNone(ZooKeeperCredentials(True).context())

    def test_bad_files(self) -> None:
        """The error for an invalid file has its option and path."""
        for access, key in (
            (ZooKeeperCredentials(True, "/nowhere.pem"), "trust"),
            (ZooKeeperCredentials(True, self.text(b"x")), "trust"),
            (ZooKeeperCredentials(True, str(self.trust), "/nowhere.pem"), "certificate"),
            (ZooKeeperCredentials(True, str(self.trust), str(self.trust)), "certificate"),
        ):
            error = self.assertRaises(BadPem, access.context)
            self.assertTrue(str(error).startswith(f"{key} "))

    def test_login(self) -> None:
        """A login is one line; a password may have colons and spaces."""
        self.assertEqual("me:a: b", ZooKeeperCredentials(digest=self.text(b"me:a: b\n")).login())

    def test_bad_login(self) -> None:
        """An invalid login is refused, and not shown."""
        for content in (b"", b"secret", b":secret", b"secret:", b"me:secret\nmore", b"secret:\xff"):
            error = self.assertRaises(BadAccess, ZooKeeperCredentials(digest=self.text(content)).login)
            self.assertEqual((True, False), (str(error).startswith("digest_file "), "secret" in str(error)))
            self.assertIsNone(error.__cause__)
        self.assertIn("No such file", str(self.assertRaises(BadAccess, ZooKeeperCredentials(digest="/nowhere").login)))
