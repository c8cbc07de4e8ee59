"""TLS and digest authentication of a ZooKeeper session, from files."""

from __future__ import annotations

import ssl

import attrs

from sniproxy.tls.clientcontext import BadPem, client_certificate, trust_text
from sniproxy.util.text import bounded

MAX_LOGIN_BYTES = 4096
"""Bytes that are read of a file with a login."""


class BadAccess(ValueError):
    """The file with the login is invalid. The text has the path and the reason."""


@attrs.frozen
class ZooKeeperCredentials:
    """Paths of files. They are read for each connection, so that a new certificate or password is used for the next
    one.

    @ivar tls: whether to use TLS.
    @ivar trust: PEM of the only trusted CAs. None: the system's.
    @ivar certificate: PEM of a client certificate and its key. None: no client certificate.
    @ivar digest: a file with C{user:password}. None: no authentication.
    """

    tls: bool = False
    trust: str | None = None
    certificate: str | None = None
    digest: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """A TLS context that verifies host names. None: plain TCP. @raise BadPem: a file is invalid."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cadata=None if self.trust is None else trust_text(self.trust))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The same rules as for all other TLS of the proxy: newer Python versions are stricter, and older ones accept a
        # common name as the host.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        if self.trust is not None:
            # A trusted CA may be an intermediate one, as for all other TLS of the proxy.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.certificate is not None:
            client_certificate(self.certificate)
            try:
                # The password prevents a prompt at the terminal, at which a daemon would hang.
                context.load_cert_chain(self.certificate, password="")
            except OSError as error:
                cure = "name a PEM with a certificate and its key, without a password"
                raise BadPem(f"certificate {_shown(self.certificate)}: {_why(error)}; {cure}") from error
        return context

    def login(self) -> str | None:
        """``user:password``. None: no authentication. @raise BadAccess: the file is invalid."""
        if self.digest is None:
            return None
        try:
            with open(self.digest, "rb") as file:
                text = file.read(MAX_LOGIN_BYTES).decode().strip()
        except OSError as error:
            raise BadAccess(f"digest_file {_shown(self.digest)}: {_why(error)}") from error
        except UnicodeDecodeError:
            text = ""  # not chained: the error has the contents of the file
        user, colon, password = text.partition(":")
        if not (user and colon and password and text.isprintable()):
            cure = "no valid login; write one line, user:password"
            raise BadAccess(f"digest_file {_shown(self.digest)}: {cure}")
        return text


def _shown(path: str | None) -> str:
    return repr(bounded(path or ""))


def _why(error: OSError) -> str:
    return bounded(error.strerror or str(error) or type(error).__name__, 120)
