"""Certificates and tokens of the lab, made for each run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

import trustme
from attrs import frozen
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

#: The service name, at which clients look topics up. Any broker may answer.
SERVICE_NAME = "pulsar-vip.test"
#: A name with a route to the brokers that is in none of their certificates.
UNCERTIFIED_NAME = "other-vip.test"
BROKER_NAMES = ("broker-1.pulsar.test", "broker-2.pulsar.test")
#: The same of the other cluster of geo-replication.
OTHER_SERVICE_NAME = "pulsar-west.test"
OTHER_BROKER_NAMES = ("broker-1.west.pulsar.test",)
#: The common name of the client's certificate: the role that a broker sees.
CLIENT_ROLE = "certified-client"
#: The roles that have a token. `admin` is a super-user of the secured cluster.
TOKEN_ROLES = ("admin", "app")


@frozen
class Certificate:
    """PEM files of a certificate with its chain, and of its key."""

    certificate: Path
    key: Path


@frozen
class Material:
    """One authority's certificates, and tokens by role."""

    folder: Path
    #: The authority's own certificate.
    trust: Path
    brokers: dict[str, Certificate]
    client: Certificate
    #: The bytes that the tokens are signed with (HS256).
    token_secret: Path
    tokens: dict[str, Path]
    #: A token with an unknown signature.
    bad_token: Path


def make(folder: Path) -> Material:
    """Write all files below the existing folder.

    Every broker's certificate has its own name (connect phase), the service name (lookup phase, which any broker may
    get), and 127.0.0.1, because the C++ client verifies the name of the proxy, not the broker's.
    """
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    trust = folder / "ca.pem"
    authority.cert_pem.write_to_path(trust)

    def issue(file: str, names: Iterable[str], common_name: str) -> Certificate:
        made = authority.issue_cert(*names, common_name=common_name, key_type=trustme.KeyType.RSA)
        files = Certificate(folder / f"{file}.pem", folder / f"{file}.key")
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        # Pulsar reads only PKCS#8 keys.
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        _private(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    secret = secrets.token_bytes(32)
    return Material(
        folder=folder,
        trust=trust,
        brokers={
            name: issue(name, (name, service_name, "127.0.0.1", "localhost"), name)
            for service_name, names in ((SERVICE_NAME, BROKER_NAMES), (OTHER_SERVICE_NAME, OTHER_BROKER_NAMES))
            for name in names
        },
        client=issue("client", ("client.test",), CLIENT_ROLE),
        token_secret=_private(folder / "token.secret", secret),
        tokens={role: _private(folder / f"{role}.token", token(secret, role).encode()) for role in TOKEN_ROLES},
        bad_token=_private(folder / "bad.token", token(secrets.token_bytes(32), "admin").encode()),
    )


def token(secret: bytes, role: str) -> str:
    """A JSON web token (RFC 7519) for the role, signed with HS256, without expiry."""
    parts = [_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": role})]
    signature = hmac.digest(secret, ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64url(signature)])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _private(file: Path, content: bytes) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file
