"""Tests for sniproxy.tls.pemfiles."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.pem import BadPem
from sniproxy.tls.pemfiles import read, trusted
from tests.tls.material import CA, OTHER_CA, folder, issued, pem

ROOT = CA.cert_pem.bytes()


class ReadTests(SynchronousTestCase):
    """read: a file, or the files of a folder."""

    def test_file(self) -> None:
        """A file of any name."""
        path = Path(self.mktemp())
        path.write_bytes(b"text")
        self.assertEqual([(str(path), b"text")], read(str(path)))

    def test_folder(self) -> None:
        """The files of a folder with certificates and keys are read in order; a pipe is ignored."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("b.key", "a.pem", "c.crt", "readme.txt"):
            (folder / name).write_bytes(name.encode())
        os.mkfifo(folder / "pipe.pem")
        self.assertEqual([b"a.pem", b"b.key", b"c.crt"], [text for _, text in read(str(folder))])

    def test_missing(self) -> None:
        """The message for a missing file names its path."""
        self.assertIn("nowhere.pem: cannot read: ", str(self.assertRaises(BadPem, read, "nowhere.pem")))


class TrustedTests(SynchronousTestCase):
    """trusted: the certificates of a file or folder. tests.test_sametrust checks all clients."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_folder(self) -> None:
        """The certificates of all PEM files of a folder are read; other files are ignored."""
        folder(self.folder, a_pem=ROOT, b_crt=OTHER_CA.cert_pem.bytes(), c_cer=ROOT, d_txt=b"")
        self.assertEqual(3, len(trusted(self.folder)))

    def test_named(self) -> None:
        """A message begins with the purpose of the path, or with the path."""
        for what, start in (
            ("--trust", "--trust '/nowhere.pem': cannot"),
            ("", "/nowhere.pem: cannot read: No such"),
        ):
            self.assertTrue(str(self.assertRaises(BadPem, trusted, "/nowhere.pem", what)).startswith(start))

    def test_empty_folder(self) -> None:
        """A folder without certificates is refused; the message has the suffixes that are read."""
        folder(self.folder, a_txt=ROOT)
        self.assertIn("no *.pem, *.crt or *.cer file", str(self.assertRaises(BadPem, trusted, self.folder)))

    def test_binary(self) -> None:
        """DER, in a file or in a folder, is refused with the command that converts it."""
        folder(self.folder, a_pem=ROOT, b_cer=issued("a.test").chain[0].public_bytes(Encoding.DER))
        self.assertIn(
            "b.cer: binary file (DER or PKCS #12), not PEM; convert it, for example with: openssl x509 -inform DER",
            str(self.assertRaises(BadPem, trusted, self.folder)),
        )

    def test_expired(self) -> None:
        """One valid certificate is enough; if all have expired, they are refused with the last date."""
        now = datetime.now(UTC)
        old, older = (
            pem("a.test", not_before=now - timedelta(days=9), not_after=now - timedelta(days=days)) for days in (1, 2)
        )
        folder(self.folder, mixed_pem=old + ROOT, old_pem=old, all_pem=old + older)
        self.assertEqual(2, len(trusted(self.folder / "mixed.pem")))
        for name, subject in (("old", "the certificate"), ("all", "all certificates")):
            error = str(self.assertRaises(BadPem, trusted, self.folder / f"{name}.pem"))
            self.assertIn(f"{subject} expired on {now - timedelta(days=1):%Y-%m-%d %H:}", error)
