"""Deliberate breaks of the code, each a text that is replaced in one source file. C{mutate} shows which are found."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One break. @ivar what: in words. @ivar path: of the file below C{sniproxy}. @ivar old: the text there, once."""

    what: str
    path: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "the relay loses the byte behind a short write",
        "relay/direction.py",
        "self._head = bytes(head[count:])",
        "self._head = bytes(head[count + 1 :])",
    ),
    Mutation(
        "the relay keeps the shared buffer instead of a copy of the rest",
        "relay/direction.py",
        "self._head = bytes(head[count:])",
        "self._head = head[count:]",
    ),
    Mutation(
        "the relay does not pass a half-close on",
        "relay/direction.py",
        "            self.target.sock.shutdown(socket.SHUT_WR)",
        "            pass",
    ),
    Mutation(
        "a read of one byte is taken for the end",
        "relay/relay.py",
        "direction.eof |= not count ",
        "direction.eof |= count <= 1 ",
    ),
    Mutation(
        "the relay does not wait for room",
        "relay/relay.py",
        "        self._watch(self._reactor.addWriter, direction.target)\n\n    def _watch",
        "\n    def _watch",
    ),
    Mutation(
        "the relay does not read the source again after a pause",
        "relay/relay.py",
        "            return direction.eof or self._watch(self._reactor.addReader, direction.source)\n",
        "",
    ),
    Mutation(
        "the relay closes in order where it must reset",
        "relay/relay.py",
        "(self._closer if side.inbound.ended else self._closer.abort)(other.sock)",
        "self._closer(other.sock)",
    ),
    Mutation(
        "a reset of a side that is not read is not noticed",
        "relay/direction.py",
        "if broken and (self.inbound.blocked or self.inbound.ended) and is_over(self.sock):",
        "if broken and self.inbound.ended and is_over(self.sock):",
    ),
    Mutation(
        "the idle timeout restarts at each check",
        "relay/relay.py",
        "        if moved != self._moved:\n",
        "        if True:\n",
    ),
    Mutation(
        "a half-closed tunnel keeps the idle timeout",
        "relay/relay.py",
        "                if not self._idle or self._half_closed < self._idle:\n"
        "                    self._check_idle()\n",
        "",
    ),
    Mutation(
        "the end of a tunnel leaves its timer",
        "relay/relay.py",
        "        if self._timer is not None:\n            self._timer.cancel()\n"
        "        for direction in (self._up, self._down):\n"
        "            self._reactor.removeReader",
        "        for direction in (self._up, self._down):\n            self._reactor.removeReader",
    ),
    Mutation(
        "the bytes of a blocked direction stay in the account at the end",
        "relay/direction.py",
        '        """Free what the direction holds. It must not be used again."""\n        self.unblock()',
        '        """Free what the direction holds. It must not be used again."""',
    ),
    Mutation(
        "the client's socket stays open when its target's is closed",
        "relay/relay.py",
        "            self._closer.close(self._client.sock)\n",
        "",
    ),
    Mutation(
        "a permit does not leave the count of its route",
        "connection/admission.py",
        "        if route is not None:\n            route.connections -= 1",
        "        if route is not None and route.connections > 1:\n            route.connections -= 1",
    ),
    Mutation(
        "a connection that ends while it dials stays in the count of connecting ones",
        "connection/admission.py",
        "        if self._connecting is not None:\n            self.leave_connecting()\n"
        "        self._admission.release",
        "        self._admission.release",
    ),
    Mutation(
        "a hello that is cut off waits without a deadline",
        "net/firstbytes.py",
        "            self._deadline = timer_wheel_of(self._reactor).after(self._left, self._too_late)\n",
        "            self._deadline = timer_wheel_of(self._reactor).after(self._left + 1, self._too_late)\n",
    ),
    Mutation(
        "the hello's bytes are passed on without the last one",
        "connection/hello.py",
        "    return _record(conn, hello, bytes(stage.received))",
        "    return _record(conn, hello, bytes(stage.received[:-1]))",
    ),
    Mutation(
        "the bytes of an incomplete hello stay in the account",
        "net/firstbytes.py",
        "        if self._waiting is not None:\n            self._waiting.holds(0)\n",
        "",
    ),
    Mutation(
        "a dial that is given up leaves its socket open",
        "net/opensockets.py",
        "    def give_up(self) -> None:\n        self._reactor.removeWriter(self)\n"
        "        self._closer.close(self.sock)",
        "    def give_up(self) -> None:\n        self._reactor.removeWriter(self)",
    ),
    Mutation(
        "a failed dial leaves its socket open",
        "net/opensockets.py",
        "        if number:\n            self._closer.close(self.sock)\n",
        "        if number:\n",
    ),
    Mutation(
        "a dial has no deadline",
        "net/dialer.py",
        "            self._deadline = timer_wheel_of(self._reactor).after(seconds, self._timed_out)",
        "            pass",
    ),
    Mutation(
        "a client that leaves during the dial is not noticed",
        "connection/lifecycle.py",
        '        self.end(Ending(Result.CLIENT_GONE, f"{why} {_DURING[self.stage]}"))',
        "        pass",
    ),
    Mutation(
        "the count of a target's connections is left at the end",
        "connection/lifecycle.py",
        "            answer = self.tunnel.answer\n        self._leave_target()",
        "            answer = self.tunnel.answer",
    ),
    Mutation(
        "the record is written twice for a tunnel that is reset",
        "relay/relay.py",
        "            self._part(done, Ending(Result.RESET, how_broken(side.name, error)))",
        "            self._part(done, Ending(Result.RESET, how_broken(side.name, error)))\n"
        "            self._part(done, Ending(Result.RESET, how_broken(side.name, error)))",
    ),
    Mutation(
        "accepting pauses for good when no descriptor is left",
        "net/listener.py",
        "            self._paused = self._reactor.callLater(PAUSE_S, self._resume)",
        "            self._paused = self._reactor.callLater(PAUSE_S, self._unpause)",
    ),
    Mutation(
        "a client refused by its limit keeps its socket",
        "server/connections.py",
        "    reset_on_close(sock)\n    sock.close()\n\n\ndef _bound",
        "    reset_on_close(sock)\n\n\ndef _bound",
    ),
    Mutation(
        "the resolver's query has no deadline",
        "resolvers/cache/cache.py",
        "        flight.timer = self._reactor.callLater(self._deadline, self._timed_out, flight)\n",
        "",
    ),
    Mutation(
        "a query's late answer is taken although it was cancelled",
        "resolvers/cache/cache.py",
        "        if self._flights.get(flight.key) is not flight:  # it was cancelled, or has timed out\n"
        "            return\n"
        "        del self._flights[flight.key]",
        "        self._flights.pop(flight.key, None)",
    ),
    Mutation(
        "one waiter that is cancelled cancels the query of all",
        "resolvers/cache/cache.py",
        "if not flight.waiters() and not flight.refreshes and",
        "if not flight.refreshes and",
    ),
    Mutation(
        "a stop does not wait for the sockets that close",
        "server/shutdown.py",
        "        if self._done is not None and self._no_more and not self._live and not self._done.called:",
        "        if self._done is not None and self._no_more and not self._done.called:",
    ),
    Mutation(
        "the drain of a stop ends after its first round",
        "server/shutdown.py",
        "            self._timer = self._reactor.callLater(min(ROUND_S, left_s), self._end_some)",
        "            pass",
    ),
    Mutation(
        "the closer leaves a socket open whose peer does not end",
        "net/closer.py",
        "        self._timer: Deadline | None = timer_wheel_of(reactor).after(LINGER_TIMEOUT_S, self._time_is_up)",
        "        self._timer: Deadline | None = timer_wheel_of(reactor).after(1e6, self._time_is_up)",
    ),
    Mutation(
        "peers that vanish are not noticed",
        "relay/vanished.py",
        "        self._batch(iter(list(self._tunnels())))",
        "        return",
    ),
    Mutation(
        "a listener that stops drops the clients of its backlog",
        "net/listener.py",
        "        if self._accept_rest() and not self._shared and not held_back:",
        "        if not self._shared and not held_back:",
    ),
    Mutation(
        "a tunnel that moves loses the bytes it holds",
        "relay/relay.py",
        "        self._up.restore(state.held_up, state.bytes_up, bool(state.ended & CLIENT))",
        '        self._up.restore(b"", state.bytes_up, bool(state.ended & CLIENT))',
    ),
    Mutation(
        "a tunnel that moves forgets the bytes it has counted",
        "relay/relay.py",
        "        self._down.restore(state.held_down, state.bytes_down, bool(state.ended & TARGET))",
        "        self._down.restore(state.held_down, 0, bool(state.ended & TARGET))",
    ),
    Mutation(
        "the timer wheel fires a tick late",
        "util/timerwheel.py",
        "        slot = math.ceil((self._reactor.seconds() + seconds) / TICK_S - 1e-6)",
        "        slot = math.ceil((self._reactor.seconds() + seconds) / TICK_S - 1e-6) + 2",
    ),
    Mutation(
        "a target that is ejected is never used again",
        "routing/upstreams.py",
        "known.until, known.changed = now + self.health.eject, now",
        "known.until, known.changed = now + 1e9, now",
    ),
)
