"""The native relay, built from the crate in ``engine/``. It may be missing: then importing it raises ImportError."""

from typing import final

OK: int
"""Both sides ended, and all bytes were passed on."""
RESET: int
"""One side's connection broke."""
IDLE: int
"""No byte crossed for the timeout."""
ENDED: int
"""L{Tunnel.end} was called."""
GIVEN_BACK: int
"""L{Tunnel.give_back} was called."""
UNWATCHED: int
"""The sockets cannot be watched."""

Ending = tuple[int, int, int, int, int, int, int, int, bytes, tuple[bytes, bytes, int, float]]
"""C{(key, kind, errno, side, bytes_up, bytes_down, client, target, answer, (held_up, held_down, first, quiet))}.

key: as given to L{Engine.add}.
kind: one of the constants above.
errno: of the broken side for RESET, of epoll_ctl(2) for UNWATCHED, otherwise 0. UNWATCHED with EIO: a thread failed.
side: the broken one for RESET; the sides whose end was read for GIVEN_BACK; otherwise the one that ended first.
    0: none, 1: client, 2: target, 3: both.
bytes_up, bytes_down: bytes written to the target and to the client.
client, target: descriptors that the caller owns now. -1: the engine closed it. OK: both are closed. RESET: the broken
    side is closed with a reset; so is the other, except if all bytes and the end of the broken side were passed on to
    it: then it is returned, for a lingering close. Otherwise both are returned, behind the held bytes that there was
    room for.
answer: the first and the seventh byte of the first read from the target. Empty: none came.
held_up, held_down: bytes read and not written, of a tunnel that was given back. Otherwise empty.
first: the side that ended first: 0 to 2.
quiet: seconds since the last byte crossed or a side ended.
"""

State = tuple[bytes, bytes, int, int, int, int, bytes, float]
"""C{(held_up, held_down, ended, first, bytes_up, bytes_down, answer, quiet)}: see L{sniproxy.relay.state.TunnelState}.
"""

@final
class Engine:
    """Relays tunnels in threads of its own.

    The threads block all signals and never take the GIL.

    @param threads: relay threads, at least 1.
    @param user_timeout_ms: C{TCP_USER_TIMEOUT} of a socket whose peer does not answer (see L{sniproxy.relay.vanished}).
    @param probes: unanswered window probes before that option is set.
    @raise OSError: no thread or no descriptor is left.
    """

    def __new__(cls, threads: int, user_timeout_ms: int, probes: int) -> Engine: ...
    def fileno(self) -> int:
        """A descriptor that is readable while L{endings} would return something. -1: the engine is closed."""

    def add(self, key: int, client: int, target: int, held: bytes, idle: float, half_closed: float) -> Tunnel:
        """Relay between two connected, non-blocking sockets. The engine owns their descriptors from now on.

        @param key: returned in the ending; below 2**32.
        @param held: bytes read from the client, which the target gets first.
        @param idle: seconds without a byte after which the tunnel ends. 0: no such timeout.
        @param half_closed: the same for a half-closed tunnel.
        @raise OSError: the engine is closed or has failed. The descriptors stay the caller's.
        @raise ValueError: a descriptor is negative.
        """

    def resume(self, key: int, client: int, target: int, state: State, idle: float, half_closed: float) -> Tunnel:
        """Like L{add}, for a tunnel that was given back (GIVEN_BACK) by this engine, or another, or another relay."""

    def endings(self) -> list[Ending]:
        """The tunnels that ended since the last call."""

    @property
    def held(self) -> int:
        """Bytes that blocked directions hold, in memory and in pipes."""

    @property
    def pipes(self) -> int:
        """Open pipes, spare ones included. Each has two descriptors."""

    @property
    def tunnels(self) -> int:
        """Tunnels that were added and have not ended."""

    def advance(self, seconds: float) -> None:
        """For tests: move the clock of the threads forward."""

    def close(self) -> None:
        """Stop the threads, and close all descriptors. Endings not fetched are lost. May be called again."""

@final
class Tunnel:
    """A tunnel in an engine. Its counters stay readable after its end."""

    @property
    def bytes_up(self) -> int:
        """Bytes written to the target."""

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client."""

    @property
    def half_closed(self) -> bool:
        """Whether one side's end was read."""

    @property
    def blocked(self) -> int:
        """The directions whose destination is full. 0: none, 1: up, 2: down, 3: both."""

    def end(self) -> None:
        """Ask for an end in order (ENDED). Does nothing when the tunnel has ended."""

    def give_back(self) -> None:
        """Ask for the sockets and the bytes held (GIVEN_BACK). Does nothing when the tunnel has ended."""
