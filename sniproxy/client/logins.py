"""The credentials in the CONNECT command. Pure.

commands.proto has no field for the credentials, so that the text form of a message never shows them.
"""

from __future__ import annotations

import attrs

from sniproxy import __version__
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import varint

PROTOCOL_VERSION = 20

_AUTH_DATA = 3  # the field number of auth_data in CONNECT
_LENGTH_DELIMITED = 2


class BadToken(ValueError):
    """The token is invalid; the message does not contain it."""


@attrs.frozen
class Login:
    """An authentication method of Pulsar, and its data, which the repr omits."""

    method: str
    data: bytes = attrs.field(repr=False, default=b"")

    def connect(self, proxy_to_broker_url: str = "") -> pb.CommandConnect:
        """The CONNECT command.

        @param proxy_to_broker_url: ``host:port`` of the broker to which a Pulsar Proxy connects; or empty.
        """
        command = pb.CommandConnect(
            client_version=f"sniproxy-{__version__}", protocol_version=PROTOCOL_VERSION, auth_method_name=self.method
        )
        if proxy_to_broker_url:
            command.proxy_to_broker_url = proxy_to_broker_url
        if self.data:
            add_auth_data(command, self.data)
        return command


NO_LOGIN = Login("none")
"""No authentication."""

CERTIFICATE = Login("tls")
"""Authentication with the client certificate."""


def by_token(text: str) -> Login:
    """Authentication with a token, such as a JSON Web Token (RFC 7519). Surrounding white space is ignored.

    @raise BadToken: it is empty, or contains invalid characters.
    """
    token = text.strip()
    if not token:
        raise BadToken("the token is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise BadToken("the token contains invalid characters; it must be one line of printable ASCII without spaces")
    return Login("token", token.encode())


def add_auth_data(command: pb.CommandConnect, data: bytes) -> None:
    """Append credentials to CONNECT. They replace earlier ones, because the last value of a field wins."""
    tag = bytes([_AUTH_DATA << 3 | _LENGTH_DELIMITED])
    command.MergeFromString(tag + varint(len(data)) + data)
