"""What a client says in CONNECT of who it is. Pure.

The secret never becomes a named field of a message (commands.proto has none for it), and so is in no text of one.
"""

from __future__ import annotations

import attrs

from sniproxy import __version__
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import varint

PROTOCOL_VERSION = 20

_AUTH_DATA = 3  # the number of CONNECT's field auth_data
_LENGTH_DELIMITED = 2


class BadToken(ValueError):
    """What should be a token is none; the message never shows it."""


@attrs.frozen
class Login:
    """A method of authentication by Pulsar's name for it, and what goes with it, which does not show when printed."""

    method: str
    data: bytes = attrs.field(repr=False, default=b"")

    def connect(self, proxy_to_broker_url: str = "") -> pb.CommandConnect:
        """The CONNECT command.

        @param proxy_to_broker_url: ``host:port`` of the broker that a Pulsar Proxy shall connect to. Empty: none.
        """
        command = pb.CommandConnect(
            client_version=f"sniproxy-{__version__}", protocol_version=PROTOCOL_VERSION, auth_method_name=self.method
        )
        if proxy_to_broker_url:
            command.proxy_to_broker_url = proxy_to_broker_url
        if self.data:
            add_auth_data(command, self.data)
        return command


NOBODY = Login("none")
"""No authentication."""

CERTIFICATE = Login("tls")
"""By the client's certificate in TLS."""


def by_token(text: str) -> Login:
    """By a token, such as a JSON web token (RFC 7519); white space around it does not count.

    @raise BadToken: it is empty, or has other characters than a token.
    """
    token = text.strip()
    if not token:
        raise BadToken("the token is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise BadToken("the token has characters that no token has; it is one line of letters, digits and signs")
    return Login("token", token.encode())


def add_auth_data(command: pb.CommandConnect, data: bytes) -> None:
    """Give CONNECT credentials. Of those that it may have already, the last ones count (as of every field)."""
    tag = bytes([_AUTH_DATA << 3 | _LENGTH_DELIMITED])
    command.MergeFromString(tag + varint(len(data)) + data)
