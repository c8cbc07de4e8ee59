"""What the two processes of an upgrade say to each other: MessagePack, each message in a packet of its own. Pure.

A message may get new fields with defaults. Everything else needs a new number in L{VERSIONS}. L{Offer} and L{Refused}
never change, because both sides read them before they have agreed on a version. docs/reference/upgrade-protocol.md
lists the versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from sniproxy.events import Connection, Proxied
from sniproxy.interfaces import Target
from sniproxy.proxyprotocol.header import Address

VERSIONS = (3, 2, 1)
"""The versions of this protocol that this program can speak, the best one first."""

MAX_HELD_BYTES = 1 << 16
"""Bytes of one L{Held}: a packet must fit into the socket's buffer."""

MAX_PACKET_BYTES = 1 << 17
"""Bytes of a packet, at most."""

MAX_FAULTS_BYTES = 1 << 16
"""Bytes of the faults of one L{Commit}."""


class BadMessage(Exception):
    """The other process has sent what this one cannot read. The message says what."""


class Offer(msgspec.Struct, tag="offer", frozen=True):
    """The old process's first message. @ivar release: of its program. @ivar tunnels: that it has now."""

    versions: tuple[int, ...]
    release: str
    pid: int
    tunnels: int


class Socket(msgspec.Struct, tag="socket", frozen=True):
    """A listening socket. One descriptor comes with it.

    @ivar number: names it in L{Ready}. @ivar endpoint: its text in the old configuration.
    @ivar admin: whether it is the admin endpoint's.
    """

    number: int
    endpoint: str
    admin: bool = False


class Offered(msgspec.Struct, tag="offered", frozen=True, omit_defaults=True):
    """All sockets were sent.

    A supervisor that replaces a process without workers passes the offer of that process on to its first worker. Then
    one descriptor comes with this message: the channel to the old process, for all that follows.

    @ivar pid: the supervisor, for L{Ready}. 0: the offer comes from the old process itself.
    @ivar taken: the numbers of the sockets that the supervisor uses, for L{Ready}.
    """

    pid: int = 0
    taken: tuple[int, ...] = ()


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The new process cannot start. It ends."""

    why: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The new process listens, and accepts nothing yet.

    @ivar version: the one to speak. @ivar pid: of the new process, or of its supervisor; see L{Offered}.
    @ivar taken: the numbers of the sockets that it uses.
    """

    version: int
    pid: int
    taken: tuple[int, ...]


class Tunnel(msgspec.Struct, tag="tunnel", frozen=True):
    """A tunnel. Two descriptors come with it: the client's and the target's. L{Held} messages follow with its bytes.

    @ivar record: of the connection. @ivar target: where it leads. @ivar route: for the limits, see
        L{sniproxy.connection.admission.Permit.route}.
    @ivar elapsed: seconds since it was accepted. @ivar half_closing: see
        L{sniproxy.connection.lifecycle.Lifecycle.may_half_close}.
    @ivar held_up: number of held bytes for the target, which come first. @ivar held_down: for the client.
    The others are as in L{sniproxy.relay.state.TunnelState}.
    """

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
    """Bytes that were read from one side of the tunnel named last, and not written to the other."""

    data: bytes


class Took(msgspec.Struct, tag="took", frozen=True):
    """The tunnel is the new process's."""

    number: int


class Declined(msgspec.Struct, tag="declined", frozen=True):
    """The tunnel is still the old process's."""

    number: int
    why: str


class Drain(msgspec.Struct, frozen=True):
    """A drain that continues.

    @ivar rate: tunnels ended per second. @ivar kind: C{target} or C{route}. None: the new process finds it out.
    """

    name: str
    rate: float
    kind: str | None = None


class FaultState(msgspec.Struct, frozen=True):
    """A fault on purpose that continues.

    @ivar values: keys and values of its C{[[fault]]} table, as C{sniproxyctl fault add} takes them.
    @ivar matched: see L{sniproxy.faults.rules.FaultRule}, as the others.
    """

    values: dict[str, str]
    matched: int
    applied: int
    added: bool


class Commit(msgspec.Struct, tag="commit", frozen=True, omit_defaults=True):
    """The old process accepts no more connections. @ivar faults: at most L{MAX_FAULTS_BYTES} of them."""

    drains: tuple[Drain, ...]
    faults: tuple[FaultState, ...] = ()


class Committed(msgspec.Struct, tag="committed", frozen=True):
    """The new process accepts connections. The old one cannot continue with the listeners."""


class Drains(msgspec.Struct, tag="drains", frozen=True):
    """All drains of the new process, after the commit: the old one drains what it has left in the same way."""

    drains: tuple[Drain, ...]


class Reopen(msgspec.Struct, tag="reopen", frozen=True):
    """The logs have been rotated: the old process opens its log files again."""


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """The new process stops: the old one stops, too, and gives what it has left its own C{timeouts.drain}."""


class Aborted(msgspec.Struct, tag="aborted", frozen=True):
    """The old process continues. The new one, unless it has sent L{Committed}, must not accept, and ends when idle."""


class Inherited(msgspec.Struct, tag="inherited", frozen=True):
    """An older process, which still has tunnels. One descriptor comes with it: this end of the channel to that process.

    @ivar tunnels: as in L{Remaining}.
    """

    version: int
    pid: int
    tunnels: int
    ends: float | None


class Remaining(msgspec.Struct, tag="remaining", frozen=True):
    """What is left in the old process. @ivar ends: when it ends these, in seconds since 1970. None: at no time."""

    tunnels: int
    ends: float | None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of L{Connection} that an open tunnel has."""

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
    header_sent: bool = False


class Destination(msgspec.Struct, frozen=True):
    """The fields of L{Target} that an open tunnel needs."""

    host: str
    port: int
    weight: int
    label: str
    client_formed: bool
    name: str


Order = Drains | Reopen | Stop

FIRST_VERSIONS: Mapping[type[Order], int] = {Drains: 2, Reopen: 2, Stop: 3}
"""The first version with each order of the new process."""

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
    | Order
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
    """A packet's message. @raise BadMessage: it is none."""
    try:
        return _decoder.decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a message of this protocol: {error}") from error


def fitting(faults: Sequence[FaultState]) -> tuple[FaultState, ...]:
    """The first of these faults, as many as fit into a L{Commit}."""
    left = MAX_FAULTS_BYTES
    for count, fault in enumerate(faults):
        left -= len(_encoder.encode(fault))
        if left < 0:
            return tuple(faults[:count])
    return tuple(faults)


def to_record(connection: Connection) -> Record:
    """The record of an open tunnel, for another process."""
    proxied = connection.proxied
    return Record(
        connection.id,
        connection.time,
        connection.listener,
        connection.client,
        connection.server_name,
        connection.alpn,
        connection.route,
        connection.received,
        connection.hello_s,
        connection.resolve_s,
        connection.connect_s,
        None if proxied is None else _to_tuple(proxied),
        connection.upstream,
        connection.header_sent,
    )


def _to_tuple(proxied: Proxied) -> tuple[str, dict[str, str], tuple[str, int] | None]:
    destination = proxied.destination
    return proxied.peer, dict(proxied.tlvs), None if destination is None else (destination.host, destination.port)


def from_record(record: Record, target: Target, bytes_up: int, bytes_down: int) -> Connection:
    """The record of a tunnel of another process. @param bytes_up: bytes so far. @param bytes_down: as C{bytes_up}."""
    values = msgspec.structs.asdict(record)
    if record.proxied is not None:
        peer, tlvs, destination = record.proxied
        values["proxied"] = Proxied(peer, tlvs, None if destination is None else Address(*destination))
    return Connection(**values, target=str(target), bytes_up=bytes_up, bytes_down=bytes_down)


def to_destination(target: Target) -> Destination:
    """A target, for another process."""
    return Destination(target.host, target.port, target.weight, target.label, target.client_formed, target.name)


def from_destination(destination: Destination) -> Target:
    """A target of another process. @raise BadMessage: this program takes it for none."""
    try:
        return Target(**msgspec.structs.asdict(destination))
    except (TypeError, ValueError) as error:
        raise BadMessage(f"a tunnel without a target: {error}") from error


def held(*parts: bytes) -> Sequence[Held]:
    """The messages with the bytes of a tunnel. @param parts: for the target, and for the client."""
    return [Held(part[at : at + MAX_HELD_BYTES]) for part in parts for at in range(0, len(part), MAX_HELD_BYTES)]
