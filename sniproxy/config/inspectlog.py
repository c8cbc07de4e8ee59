"""Checks C{[inspect_log]}, the log of the inspector's events. Pure."""

from __future__ import annotations

import msgspec

from sniproxy.config.schema import InspectLogTable
from sniproxy.interfaces import BadValue


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
    """@param path: the table's path, resolved. @raise BadValue: a value is wrong."""
    if table.commands:
        from sniproxy.pulsar.filter import EventFilter  # slow to import

        try:
            EventFilter((), table.commands)
        except ValueError as error:
            raise BadValue("commands", table.commands, str(error)) from error
    return InspectLog(path, table.reveal, tuple(table.follow), tuple(table.commands))
