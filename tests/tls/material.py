"""Certificates for tests, made by trustme, and TLS peers."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from sniproxy.net.tlssocket import TLSSocket
from sniproxy.tls.contexts import BrokerTLS, server_context
from sniproxy.tls.pem import Certified, certificates, certified
from tests.support.sockets import connected

NAME = "broker-1.pulsar.test"

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)
OTHER_CA = trustme.CA(key_type=trustme.KeyType.ECDSA)


def pem(*names: str, ca: trustme.CA = CA, **options: Any) -> bytes:
    """A certificate for these names with its key, in one PEM text."""
    issued = ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA, **options)
    text: bytes = issued.private_key_and_cert_chain_pem.bytes()
    return text


def issued(*names: str, ca: trustme.CA = CA, **options: Any) -> Certified:
    """The same, parsed."""
    (one,) = certified([("test.pem", pem(*names, ca=ca, **options))])
    return one


def trust(ca: trustme.CA = CA) -> BrokerTLS:
    """A trust store with this authority, for connections to brokers."""
    return BrokerTLS(certificates("ca.pem", ca.cert_pem.bytes()))


def folder(path: Path, **files: bytes) -> Path:
    """A folder with these files; in names, an underscore replaces the dot before the suffix."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / ".".join(name.rsplit("_", 1))).write_bytes(content)
    return path


class FarTLS(socket.socket):
    """The peer of a connection: a blocking socket that speaks TLS, transparent to its user.

    @ivar cut: the other side ended without close_notify.
    """

    def __init__(self, sock: socket.socket, tls: SSL.Connection) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.settimeout(timeout)
        self.tls = tls
        self.cut = False
        self._out = bytearray()

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._flush()
        self.tls.sendall(data)  # send takes one record
        self._collect()
        try:
            self._flush()
        except (BlockingIOError, TimeoutError):
            pass
        return len(data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        for at in range(0, len(data), 65536):
            self.send(data[at : at + 65536])
        self._flush()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if flags:
            return super().recv(size, flags)
        while True:
            try:
                return self.tls.recv(size)
            except SSL.WantReadError:
                data = super().recv(65536)
                if not data:
                    self.cut = True
                    return b""
                self.tls.bio_write(data)
            except SSL.ZeroReturnError:
                return b""

    def shutdown(self, how: int, /) -> None:
        self.tls.shutdown()
        self._collect()
        self._flush()
        super().shutdown(how)

    def _collect(self) -> None:
        try:
            while True:
                self._out += self.tls.bio_read(65536)
        except SSL.WantReadError:
            pass

    def _flush(self) -> None:
        while self._out:
            count = super().send(self._out)
            del self._out[:count]


def accepting(shown: Certified) -> SSL.Connection:
    """A server's side."""
    connection = SSL.Connection(server_context(shown), None)
    connection.set_accept_state()
    return connection


def shake_hands(one: SSL.Connection, other: SSL.Connection) -> None:
    """A handshake of both sides, in memory."""
    done = {one: False, other: False}
    while not all(done.values()):
        for half, far in ((one, other), (other, one)):
            try:
                half.do_handshake()
                done[half] = True
            except SSL.WantReadError:
                pass
            try:
                while True:
                    far.bio_write(half.bio_read(65536))
            except SSL.WantReadError:
                pass


def tls_pair(buffers: int, side: str) -> tuple[socket.socket, socket.socket]:
    """A TLS peer and our end: we are the server of a client, and the client of a target."""
    far, ours = connected(buffers)
    server, client = accepting(issued(NAME)), trust().connection(NAME)
    shake_hands(client, server)
    if side == "client":
        return FarTLS(far, client), TLSSocket(ours, server)
    return FarTLS(far, server), TLSSocket(ours, client)


def self_made(key: Any, extension: x509.ExtensionType) -> x509.Certificate:
    """A self-signed certificate with this extension."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-made")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(extension, False)
        .sign(key, hashes.SHA256())
    )


def unreadable_names() -> x509.Certificate:
    """A certificate whose one alternative name is an x400Address (RFC 5280, section 4.2.1.6)."""
    san = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, bytes.fromhex("3006a30430023000"))
    return self_made(ec.generate_private_key(ec.SECP256R1()), san)


def weak(name: str) -> bytes:
    """A certificate with its key that OpenSSL rejects as too weak."""
    key = rsa.generate_private_key(65537, 1024)
    made = self_made(key, x509.SubjectAlternativeName([x509.DNSName(name)]))
    return made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
