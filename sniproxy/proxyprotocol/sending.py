"""The PROXY protocol headers that the proxy sends to a target: ``send_proxy``. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1, write_v2


@attrs.frozen
class SendProxy:
    """@ivar version: 1 or 2. @ivar tlvs: the optional fields to send, by the names in C{writer.TLV_TYPES}; not in
    version 1.
    """

    version: int
    tlvs: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As written in the configuration."""
        return f"v{self.version}"

    def header(self, source: Address | None, destination: Address | None, values: Mapping[str, str | None]) -> bytes:
        """The header of a client's connection.

        @param source: the client. @param destination: where it connected to. None in either: a unix socket.
        @param values: of the fields, by name. A field without a value is left out.
        """
        if self.version == 1:
            return write_v1(source, destination)
        fields = {name: value for name in self.tlvs if (value := values.get(name))}
        return write_v2(source, destination, fields)

    def own(self) -> bytes:
        """The header of a connection of the proxy itself, such as a health check."""
        return self.header(None, None, {})
