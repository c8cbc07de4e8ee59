"""The hellos of a world's clients, good and bad."""

from __future__ import annotations

from tests.simulation.plan import Client
from tests.support import hellos


def hello_of(client: Client) -> bytes:
    """What a client sends first. Each client's hello has a random of its own, as real ones have."""
    if client.listener == "plain":
        return b""
    if client.hello == "not TLS":
        return b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n"
    if client.hello == "none":
        return b""
    if client.hello == "too long":
        return hellos.records(b"\x01\xff\xff\xff" + bytes(200_000))
    random = client.number.to_bytes(2, "big") * 16
    whole = hellos.hello(client.name, session_id=random).replace(bytes(range(32)), random, 1)
    if client.hello == "cut":
        return whole[: len(whole) // 2]
    if client.hello == "broken":
        return whole[:60] + b"\xff\xff\xff" + whole[63:]
    return whole
