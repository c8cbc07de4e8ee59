"""Checks C{[inspect_log]}, the log of the inspector's events. Pure."""

from __future__ import annotations

import msgspec

from sniproxy.config.schema import InspectLogTable


class BadInspectLog(Exception):
    """A key is wrong. @ivar key: which. @ivar value: what was found."""

    def __init__(self, key: str, value: object, cure: str) -> None:
        super().__init__(cure)
        self.key = key
        self.value = value


class InspectLog(msgspec.Struct, frozen=True):
    """The log of the inspector's events. L{sniproxy.inspector.live} writes it.

    @ivar path: the file, one JSON object per line; C{-}: standard output.
    @ivar reveal: whether principals and properties are logged.
    @ivar follow: patterns of topics. @ivar commands: types of commands. See L{sniproxy.pulsar.filter.EventFilter}.
    """

    path: str
    reveal: bool = False
    follow: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def make_inspect_log(table: InspectLogTable, path: str) -> InspectLog:
    """@param path: the table's path, resolved. @raise BadInspectLog: a value is wrong."""
    if table.commands:
        from sniproxy.pulsar.filter import EventFilter  # slow to import

        try:
            EventFilter((), table.commands)
        except ValueError as error:
            raise BadInspectLog("commands", table.commands, str(error)) from error
    return InspectLog(path, table.reveal, tuple(table.follow), tuple(table.commands))
