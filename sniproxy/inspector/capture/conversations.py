"""Finds the Pulsar connections in a capture, tells client from broker, and inspects them. Pure."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from sniproxy.inspector.capture.sniff import StreamKind, sniff
from sniproxy.inspector.capture.streams import CapturedConnection, Data, Ended, Gap, Piece, endpoint_text
from sniproxy.inspector.inspection import Inspection
from sniproxy.pulsar.events import Event, Fields
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader, HelloError

TLS_CURE = "TLS cannot be decoded; capture the plaintext port, or behind the TLS terminator"


@attrs.define(eq=False)
class _Conversation:
    """One connection: at first of unknown kind, then inspected, TLS or ignored."""

    connection: CapturedConnection
    client: int | None = None  # index of the client in connection.ends; None: not known yet
    name: str = ""
    inspection: Inspection | None = None
    hello: ClientHelloReader | None = None
    hello_from: int = 0
    ignored: bool = False
    heads: list[bytes] = attrs.Factory(lambda: [b"", b""])  # first bytes of each end, too few to recognize them
    begun: list[bool] = attrs.Factory(lambda: [False, False])  # whether heads are the first bytes ever


class Conversations:
    """Turns the pieces of TCP streams into events.

    A connection is Pulsar if one of its directions begins with a frame, or, if its beginning was not captured, if one
    of its segments does. A TLS connection gives one event, ``tls``, with the fields ``server_name`` (None: the client
    sent none, or its hello was not captured), ``alpn`` and ``message``.

    The client is the side that opened the connection; if unknown, the side that sends a client's commands; else the
    side whose port is not in ``ports``; else the side with the higher port.

    ``ports``: connections without one of these ports are ignored, and all others are Pulsar or TLS. Empty: all
    connections are examined. ``reveal`` and ``commands``: see `Inspection`.

    ``pulsar`` and ``tls`` count connections, ``gaps`` the holes in Pulsar connections, ``missing`` the bytes in them.
    """

    def __init__(self, ports: Collection[int] = (), *, reveal: bool = False, commands: Collection[str] = ()) -> None:
        self._ports = frozenset(ports)
        self._reveal = reveal
        self._commands = frozenset(commands)
        self._conversations: dict[CapturedConnection, _Conversation] = {}
        self.pulsar = self.tls = self.gaps = self.missing = 0

    def take(self, piece: Piece) -> list[Event]:
        """Take the next piece of a connection."""
        conversation = self._conversations.get(piece.connection)
        if conversation is None:
            conversation = self._conversations[piece.connection] = _Conversation(piece.connection)
            on_port = any(port in self._ports for _, port in piece.connection.ends)
            conversation.ignored = bool(self._ports) and not on_port
        if isinstance(piece, Ended):
            del self._conversations[piece.connection]
            return self._ended(conversation, piece)
        if conversation.ignored:
            return []
        if isinstance(piece, Gap):
            return self._gap(conversation, piece)
        if conversation.hello is not None:
            return self._read_hello(conversation, piece) if piece.sender == conversation.hello_from else []
        if conversation.inspection is not None:
            return self._inspect(conversation, conversation.inspection, piece)
        return self._recognize(conversation, piece)

    def _recognize(self, conversation: _Conversation, piece: Data) -> list[Event]:
        sender = piece.sender
        head = conversation.heads[sender]
        begins = conversation.begun[sender] if head else piece.begins
        data = head + piece.data
        kind = sniff(data)
        if kind is StreamKind.OTHER and head and not begins:
            data = piece.data  # the bytes before were the end of a frame
            kind = sniff(data)
        if kind is StreamKind.MORE:
            conversation.heads[sender], conversation.begun[sender] = data, begins
            return []
        conversation.heads[sender] = b""
        whole = attrs.evolve(piece, data=data)
        if kind is StreamKind.TLS:
            self.tls += 1
            conversation.hello, conversation.hello_from = ClientHelloReader(), sender
            return self._read_hello(conversation, whole)
        if kind.is_pulsar or self._ports:
            return self._begin_inspection(conversation, whole, kind)
        if begins:
            self._ignore(conversation)
        return []

    def _begin_inspection(self, conversation: _Conversation, piece: Data, kind: StreamKind) -> list[Event]:
        client = conversation.connection.opener
        if client is None and kind in (StreamKind.CLIENT, StreamKind.BROKER):
            client = piece.sender if kind is StreamKind.CLIENT else 1 - piece.sender
        self._name(conversation, client)
        self.pulsar += 1
        inspection = Inspection(conversation.name, reveal=self._reveal, commands=self._commands)
        conversation.inspection = inspection
        other = 1 - piece.sender
        earlier = attrs.evolve(piece, sender=other, data=conversation.heads[other])
        conversation.heads[other] = b""
        return self._inspect(conversation, inspection, earlier) + self._inspect(conversation, inspection, piece)

    def _name(self, conversation: _Conversation, client: int | None) -> None:
        """Decide which end is the client, and name the connection."""
        ends = conversation.connection.ends
        if client is None:
            on_port = [port in self._ports for _, port in ends]
            client = on_port.index(False) if sum(on_port) == 1 else int(ends[0][1] < ends[1][1])
        conversation.client = client
        again = f"#{conversation.connection.earlier + 1}" if conversation.connection.earlier else ""
        conversation.name = f"{endpoint_text(ends[client])}->{endpoint_text(ends[1 - client])}{again}"

    def _inspect(self, conversation: _Conversation, inspection: Inspection, piece: Data) -> list[Event]:
        if piece.sender == conversation.client:
            return inspection.client(piece.data, piece.time)
        return inspection.broker(piece.data, piece.time)

    def _gap(self, conversation: _Conversation, gap: Gap) -> list[Event]:
        conversation.heads[gap.sender] = b""
        if conversation.inspection is not None:
            self.gaps += 1
            self.missing += gap.missing
            return conversation.inspection.gap("client" if gap.sender == conversation.client else "broker", gap.time)
        if conversation.hello is not None and gap.sender == conversation.hello_from:
            return self._tls_event(conversation, gap.time, None)
        return []

    def _read_hello(self, conversation: _Conversation, piece: Data) -> list[Event]:
        assert conversation.hello is not None
        try:
            hello = conversation.hello.feed(piece.data)
        except HelloError:
            return self._tls_event(conversation, piece.time, None)
        return [] if hello is None else self._tls_event(conversation, piece.time, hello)

    def _tls_event(self, conversation: _Conversation, time: float, hello: ClientHello | None) -> list[Event]:
        self._name(conversation, conversation.hello_from if hello is not None else conversation.connection.opener)
        conversation.hello = None
        self._ignore(conversation)
        fields: Fields = {
            "server_name": hello.server_name if hello is not None else None,
            "alpn": [*hello.alpn] if hello is not None else [],
            "message": TLS_CURE,
        }
        return [Event("tls", time, conversation.name, fields)]

    def _ended(self, conversation: _Conversation, ended: Ended) -> list[Event]:
        if conversation.inspection is not None:
            return conversation.inspection.end(ended.time)
        return self._tls_event(conversation, ended.time, None) if conversation.hello is not None else []

    def _ignore(self, conversation: _Conversation) -> None:
        conversation.ignored = True
        conversation.heads = [b"", b""]
