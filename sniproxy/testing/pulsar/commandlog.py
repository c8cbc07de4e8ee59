"""The commands that a broker has received, and waiting for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred

#: Commands that a broker remembers, and their bytes; older ones are forgotten.
MAX_COMMANDS = 10_000
MAX_COMMAND_BYTES = 16 * 1024 * 1024


@frozen
class ReceivedCommand:
    """A command that a client has sent.

    ``type``: its name in the protocol, such as ``SEND``. ``fields``: the protobuf message, such as ``CommandSend``,
    without credentials. ``client``: the address and the port that it came from. ``topic``: the topic that it is about;
    None: of no topic, or of a producer or consumer that the broker does not know.
    """

    type: str
    fields: Any
    client: str
    topic: str | None = None


Condition = Callable[[ReceivedCommand], bool]


@define(eq=False)
class _Waiter:
    type: str
    count: int
    where: Condition | None
    done: Deferred[list[ReceivedCommand]]


class CommandLog:
    """A bounded list of commands. ``parent``: a log that gets the same commands; None: there is no other."""

    def __init__(self, parent: CommandLog | None = None) -> None:
        self._parent = parent
        self._commands: deque[tuple[ReceivedCommand, int]] = deque()
        self._bytes = 0
        self._waiters: list[_Waiter] = []

    def add(self, command: ReceivedCommand, size: int) -> None:
        """Add a command with its size in bytes, and end the waiting for it."""
        self._commands.append((command, size))
        self._bytes += size
        while len(self._commands) > MAX_COMMANDS or self._bytes > MAX_COMMAND_BYTES:
            self._bytes -= self._commands.popleft()[1]
        for waiter in list(self._waiters):
            if waiter.type == command.type and len(found := self.find(waiter.type, waiter.where)) >= waiter.count:
                self._waiters.remove(waiter)
                waiter.done.callback(found)
        if self._parent is not None:
            self._parent.add(command, size)

    def all(self) -> list[ReceivedCommand]:
        """The commands, oldest first."""
        return [command for command, _ in self._commands]

    def forget(self) -> None:
        """Forget all commands."""
        self._commands.clear()
        self._bytes = 0

    def find(self, type: str, where: Condition | None = None) -> list[ReceivedCommand]:
        """The commands of a type, for which `where` is true if it is given."""
        return [each for each, _ in self._commands if each.type == type and (where is None or where(each))]

    def saw(self, type: str, count: int, where: Condition | None) -> Deferred[list[ReceivedCommand]]:
        """Wait until there are as many of these commands. @return: fires with them; cancel it to wait no longer."""
        found = self.find(type, where)
        done: Deferred[list[ReceivedCommand]] = Deferred(self._cancel)
        if len(found) >= count:
            done.callback(found)
        else:
            self._waiters.append(_Waiter(type, count, where, done))
        return done

    def _cancel(self, done: Deferred[list[ReceivedCommand]]) -> None:
        self._waiters = [waiter for waiter in self._waiters if waiter.done is not done]
