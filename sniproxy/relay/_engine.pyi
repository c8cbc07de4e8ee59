"""The native relay (``engine/``, in Rust). Optional: L{sniproxy.relay.engine} says what happens without it."""

from typing import final

@final
class Engine:
    def __init__(self, threads: int, user_timeout_ms: int, probes: int) -> None:
        """Start the relay threads. They block all signals and never take the GIL.

        @param user_timeout_ms, probes: L{sniproxy.relay.vanished} has their meaning.
        @raise OSError: no thread or descriptor is left.
        """

    def fileno(self) -> int:
        """An eventfd, readable while L{endings} returns something. Reading the endings clears it."""

    def add(self, key: int, client: int, target: int, held: bytes, idle: float, half_closed: float) -> Tunnel:
        """Take over two connected, non-blocking sockets. The engine owns the descriptors from now on.

        @param key: comes back in the ending.
        @param held: bytes read from the client; the target gets them first.
        @param idle: seconds. 0: none. @param half_closed: seconds.
        """

    def endings(self) -> list[tuple[int, int, int, int, int, int, int, int, bytes, bytes]]:
        """The tunnels that ended since the last call.

        Each is (key, kind, errno, side, bytes_up, bytes_down, client, target, held_up, held_down).
        L{sniproxy.relay.engine} names the kinds. Descriptors are the caller's from now on; -1: closed by the engine.
        """

    @property
    def held(self) -> int:
        """Bytes that blocked directions hold in memory and pipes now."""

    @property
    def pipes(self) -> int:
        """Open pipes, spare ones included (two descriptors each)."""

    @property
    def tunnels(self) -> int:
        """Tunnels that have not ended."""

    def close(self) -> None:
        """Stop and join the threads, and close all descriptors. Further calls do nothing."""

@final
class Tunnel:
    @property
    def bytes_up(self) -> int:
        """Bytes written to the target so far."""

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client so far."""

    @property
    def half_closed(self) -> bool:
        """Whether one side's end was passed on."""

    @property
    def blocked(self) -> int:
        """The directions whose destination is full: 0 none, 1 up, 2 down, 3 both."""

    def end(self) -> None:
        """Ask for an end in order. The ending comes later."""

    def give_back(self) -> None:
        """Ask for both descriptors and the held bytes. The ending comes later."""
