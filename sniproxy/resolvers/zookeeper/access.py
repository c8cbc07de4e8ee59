"""How a session with ZooKeeper shows who it is, and knows whom it talks to: TLS and the scheme digest, from files."""

from __future__ import annotations

import ssl

import attrs

from sniproxy.tls.clientcontext import BadPem, client_certificate, trust_text
from sniproxy.util.text import bounded

MAX_LOGIN_BYTES = 4096
"""Of a file with a login."""


class BadAccess(ValueError):
    """The file of a login cannot be used; the text says which and why."""


@attrs.frozen
class ZooKeeperCredentials:
    """Paths of files. They are read for each connection: a new certificate or password counts from the next one on.

    @ivar trust: PEM of the authorities of TLS, and no others. None: the system's.
    @ivar certificate: PEM of a client's certificate with its key, for TLS. None: none is shown.
    @ivar digest: a file with C{user:password}. None: the session is not authenticated.
    """

    tls: bool = False
    trust: str | None = None
    certificate: str | None = None
    digest: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """What TLS goes by, host names verified; None: it is plain TCP. @raise BadPem: a file cannot be used."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cadata=None if self.trust is None else trust_text(self.trust))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # As for all other TLS of the proxy: newer Pythons are stricter, and older ones take a common name for a host's.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        if self.trust is not None:
            # What the operator trusts ends a chain, whether or not it is a root, as for all other TLS of the proxy.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.certificate is not None:
            client_certificate(self.certificate)
            try:
                # A password for the key is not asked for at the terminal, where a daemon would hang.
                context.load_cert_chain(self.certificate, password="")
            except OSError as error:
                cure = "name a PEM with a certificate and its key, without a password"
                raise BadPem(f"certificate {_shown(self.certificate)}: {_why(error)}; {cure}") from error
        return context

    def login(self) -> str | None:
        """``user:password``; None: there is none. @raise BadAccess: the file cannot be used."""
        if self.digest is None:
            return None
        try:
            with open(self.digest, "rb") as file:
                text = file.read(MAX_LOGIN_BYTES).decode().strip()
        except OSError as error:
            raise BadAccess(f"digest_file {_shown(self.digest)}: {_why(error)}") from error
        except UnicodeDecodeError:
            text = ""  # not chained: the error holds what was read
        user, colon, password = text.partition(":")
        if not (user and colon and password and text.isprintable()):
            cure = "it holds no login: one line, user:password"
            raise BadAccess(f"digest_file {_shown(self.digest)}: {cure}")
        return text


def _shown(path: str | None) -> str:
    return repr(bounded(path or ""))


def _why(error: OSError) -> str:
    return bounded(error.strerror or str(error) or type(error).__name__, 120)
