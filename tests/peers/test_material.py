"""Tests for tests.peers.material."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from tests.peers import material
from tests.peers.material import (
    BROKER_NAMES,
    CLIENT_ROLE,
    OTHER_BROKER_NAMES,
    OTHER_SERVICE_NAME,
    SERVICE_NAME,
    UNCERTIFIED_NAME,
)


class MaterialTests(SynchronousTestCase):
    """The files of one run."""

    def setUp(self) -> None:
        """Make them in a temporary folder."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.material = material.make(folder)

    def test_brokers_names(self) -> None:
        """A broker's certificate has its own name, the service name, and the proxy's address only."""
        services = {
            **dict.fromkeys(BROKER_NAMES, SERVICE_NAME),
            **dict.fromkeys(OTHER_BROKER_NAMES, OTHER_SERVICE_NAME),
        }
        self.assertEqual(set(services), set(self.material.brokers))
        for name, service_name in services.items():
            pem = self.material.brokers[name].certificate.read_bytes()
            names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
            self.assertEqual(set(names.value.get_values_for_type(x509.DNSName)), {name, service_name, "localhost"})
            self.assertEqual([str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)], ["127.0.0.1"])
            self.assertNotIn(UNCERTIFIED_NAME.encode(), pem)

    def test_clients_role(self) -> None:
        """The role is the common name of the client's certificate."""
        certificate = x509.load_pem_x509_certificate(self.material.client.certificate.read_bytes())
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual(name.value, CLIENT_ROLE)

    def test_keys(self) -> None:
        """Keys are PKCS#8; keys and tokens are readable by the owner only."""
        keys = [pair.key for pair in (*self.material.brokers.values(), self.material.client)]
        for file in keys:
            self.assertTrue(file.read_text().startswith("-----BEGIN PRIVATE KEY-----"))
        secrets = [*keys, self.material.token_secret, self.material.bad_token, *self.material.tokens.values()]
        self.assertEqual({file.stat().st_mode & 0o777 for file in secrets}, {0o600})

    def test_tokens(self) -> None:
        """A token has its role and is signed with the secret; the bad one is signed with another."""

        def read(file: Path) -> tuple[object, bool]:
            signed, _, signature = file.read_text().rpartition(".")
            right = hmac.digest(self.material.token_secret.read_bytes(), signed.encode(), hashlib.sha256)
            claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
            return claims, base64.urlsafe_b64encode(right).rstrip(b"=") == signature.encode()

        self.assertEqual(read(self.material.tokens["app"]), ({"sub": "app"}, True))
        self.assertEqual(read(self.material.bad_token), ({"sub": "admin"}, False))
