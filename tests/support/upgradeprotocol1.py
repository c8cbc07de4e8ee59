"""The messages of version 1 of the upgrade protocol, as the releases that speak only this version have them.

Never edit. L{sniproxy.server.upgrade.messages} has their documentation.
"""

from __future__ import annotations

import msgspec


class Offer(msgspec.Struct, tag="offer", frozen=True):
    versions: tuple[int, ...]
    release: str
    pid: int
    tunnels: int


class Socket(msgspec.Struct, tag="socket", frozen=True):
    number: int
    endpoint: str
    admin: bool = False


class Offered(msgspec.Struct, tag="offered", frozen=True):
    pass


class Refused(msgspec.Struct, tag="refused", frozen=True):
    why: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    version: int
    pid: int
    taken: tuple[int, ...]


class Tunnel(msgspec.Struct, tag="tunnel", frozen=True):
    number: int
    record: Record
    target: Destination
    route: tuple[str, str | None] | None
    elapsed: float
    half_closing: bool
    held_up: int
    held_down: int
    ended: int
    first: int
    bytes_up: int
    bytes_down: int
    answer: bytes
    quiet_s: float


class Held(msgspec.Struct, tag="held", frozen=True):
    data: bytes


class Took(msgspec.Struct, tag="took", frozen=True):
    number: int


class Declined(msgspec.Struct, tag="declined", frozen=True):
    number: int
    why: str


class Drain(msgspec.Struct, frozen=True):
    name: str
    rate: float
    kind: str | None = None


class Commit(msgspec.Struct, tag="commit", frozen=True):
    drains: tuple[Drain, ...]


class Committed(msgspec.Struct, tag="committed", frozen=True):
    pass


class Aborted(msgspec.Struct, tag="aborted", frozen=True):
    pass


class Inherited(msgspec.Struct, tag="inherited", frozen=True):
    version: int
    pid: int
    tunnels: int
    ends: float | None


class Remaining(msgspec.Struct, tag="remaining", frozen=True):
    tunnels: int
    ends: float | None


class Record(msgspec.Struct, frozen=True):
    id: str
    time: float
    listener: str
    client: str
    server_name: str | None
    alpn: tuple[str, ...]
    route: str | None
    received: int
    hello_s: float | None
    resolve_s: float | None
    connect_s: float | None
    proxied: tuple[str, dict[str, str], tuple[str, int] | None] | None
    upstream: int | None


class Destination(msgspec.Struct, frozen=True):
    host: str
    port: int
    weight: int
    label: str
    client_formed: bool
    name: str


Message = (
    Offer
    | Socket
    | Offered
    | Refused
    | Ready
    | Tunnel
    | Held
    | Took
    | Declined
    | Commit
    | Committed
    | Aborted
    | Inherited
    | Remaining
)

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """A message as a packet."""
    return _encoder.encode(message)


def decode(packet: bytes) -> Message:
    """A packet's message. @raise msgspec.MsgspecError: this version has no such message."""
    return _decoder.decode(packet)
