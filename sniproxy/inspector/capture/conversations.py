"""Which of a capture's connections speak Pulsar, who of the two is the broker, and what they say. Pure."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from sniproxy.inspector.capture.sniff import StreamKind, sniff
from sniproxy.inspector.capture.streams import CapturedConnection, Data, Ended, Gap, Piece, endpoint_text
from sniproxy.inspector.inspection import Inspection
from sniproxy.pulsar.events import Event, Fields
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader, HelloError

TLS_CURE = "TLS: cannot be decoded; capture the plaintext port, or behind what ends TLS"


@attrs.define(eq=False)
class _Talk:
    """One connection, until it is known what it is, and then one of: inspected, TLS, ignored."""

    connection: CapturedConnection
    client: int | None = None  # the index of the end that is the client; None: not known yet
    name: str = ""
    inspection: Inspection | None = None
    hello: ClientHelloReader | None = None
    hello_from: int = 0
    ignored: bool = False
    heads: list[bytes] = attrs.Factory(lambda: [b"", b""])  # first bytes of each end, too few to tell
    begun: list[bool] = attrs.Factory(lambda: [False, False])  # they are the very first ones


class Conversations:
    """Takes the pieces of TCP streams, and says what goes on in them as events.

    A connection is Pulsar's when one of its directions begins with a frame; when its beginning was not captured, when
    one of its segments does. One that is TLS gives a single event, ``tls``, with the fields ``server_name`` (None:
    there is none, or its hello was not captured), ``alpn`` and ``message``.

    The client is who opened the connection, or else who sends what clients send, or else not the one on one of
    ``ports``, or else the one with the higher port.

    ``ports``: connections with none of these ports are not looked at, and all others are Pulsar's, but for TLS; empty:
    all connections are looked at. ``reveal`` and ``commands`` are the `Inspection`'s.

    ``pulsar`` and ``tls`` count the connections that were either, ``gaps`` the holes in the Pulsar ones, and
    ``missing`` the bytes in these.
    """

    def __init__(self, ports: Collection[int] = (), *, reveal: bool = False, commands: Collection[str] = ()) -> None:
        self._ports = frozenset(ports)
        self._reveal = reveal
        self._commands = frozenset(commands)
        self._talks: dict[CapturedConnection, _Talk] = {}
        self.pulsar = self.tls = self.gaps = self.missing = 0

    def take(self, piece: Piece) -> list[Event]:
        """The next piece of one of the connections."""
        talk = self._talks.get(piece.connection)
        if talk is None:
            talk = self._talks[piece.connection] = _Talk(piece.connection)
            talk.ignored = bool(self._ports) and not any(port in self._ports for _, port in piece.connection.ends)
        if isinstance(piece, Ended):
            del self._talks[piece.connection]
            return self._ended(talk, piece)
        if talk.ignored:
            return []
        if isinstance(piece, Gap):
            return self._gap(talk, piece)
        if talk.hello is not None:
            return self._read_hello(talk, piece) if piece.sender == talk.hello_from else []
        if talk.inspection is not None:
            return self._inspect(talk, talk.inspection, piece)
        return self._find_out(talk, piece)

    def _find_out(self, talk: _Talk, piece: Data) -> list[Event]:
        sender = piece.sender
        head = talk.heads[sender]
        begins = talk.begun[sender] if head else piece.begins
        data = head + piece.data
        kind = sniff(data)
        if kind is StreamKind.OTHER and head and not begins:
            data = piece.data  # what came before was the end of something
            kind = sniff(data)
        if kind is StreamKind.MORE:
            talk.heads[sender], talk.begun[sender] = data, begins
            return []
        talk.heads[sender] = b""
        whole = attrs.evolve(piece, data=data)
        if kind is StreamKind.TLS:
            self.tls += 1
            talk.hello, talk.hello_from = ClientHelloReader(), sender
            return self._read_hello(talk, whole)
        if kind.is_pulsar or self._ports:
            return self._is_pulsar(talk, whole, kind)
        if begins:
            self._ignore(talk)
        return []

    def _is_pulsar(self, talk: _Talk, piece: Data, kind: StreamKind) -> list[Event]:
        client = talk.connection.opener
        if client is None and kind in (StreamKind.CLIENT, StreamKind.BROKER):
            client = piece.sender if kind is StreamKind.CLIENT else 1 - piece.sender
        self._name(talk, client)
        self.pulsar += 1
        inspection = talk.inspection = Inspection(talk.name, reveal=self._reveal, commands=self._commands)
        other = 1 - piece.sender
        earlier = attrs.evolve(piece, sender=other, data=talk.heads[other])
        talk.heads[other] = b""
        return self._inspect(talk, inspection, earlier) + self._inspect(talk, inspection, piece)

    def _name(self, talk: _Talk, client: int | None) -> None:
        """Settle who is the client, and what the connection is called."""
        ends = talk.connection.ends
        if client is None:
            on_port = [port in self._ports for _, port in ends]
            client = on_port.index(False) if sum(on_port) == 1 else int(ends[0][1] < ends[1][1])
        talk.client = client
        again = f"#{talk.connection.earlier + 1}" if talk.connection.earlier else ""
        talk.name = f"{endpoint_text(ends[client])}->{endpoint_text(ends[1 - client])}{again}"

    def _inspect(self, talk: _Talk, inspection: Inspection, piece: Data) -> list[Event]:
        if piece.sender == talk.client:
            return inspection.client(piece.data, piece.time)
        return inspection.broker(piece.data, piece.time)

    def _gap(self, talk: _Talk, gap: Gap) -> list[Event]:
        talk.heads[gap.sender] = b""
        if talk.inspection is not None:
            self.gaps += 1
            self.missing += gap.missing
            return talk.inspection.gap("client" if gap.sender == talk.client else "broker", gap.time)
        if talk.hello is not None and gap.sender == talk.hello_from:
            return self._say_tls(talk, gap.time, None)
        return []

    def _read_hello(self, talk: _Talk, piece: Data) -> list[Event]:
        assert talk.hello is not None
        try:
            hello = talk.hello.feed(piece.data)
        except HelloError:
            return self._say_tls(talk, piece.time, None)
        return [] if hello is None else self._say_tls(talk, piece.time, hello)

    def _say_tls(self, talk: _Talk, time: float, hello: ClientHello | None) -> list[Event]:
        self._name(talk, talk.hello_from if hello is not None else talk.connection.opener)
        talk.hello = None
        self._ignore(talk)
        fields: Fields = {
            "server_name": hello.server_name if hello is not None else None,
            "alpn": [*hello.alpn] if hello is not None else [],
            "message": TLS_CURE,
        }
        return [Event("tls", time, talk.name, fields)]

    def _ended(self, talk: _Talk, ended: Ended) -> list[Event]:
        if talk.inspection is not None:
            return talk.inspection.end(ended.time)
        return self._say_tls(talk, ended.time, None) if talk.hello is not None else []

    def _ignore(self, talk: _Talk) -> None:
        talk.ignored = True
        talk.heads = [b"", b""]
