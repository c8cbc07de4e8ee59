"""The log of the inspector's events, as the configuration says it. Pure; L{sniproxy.inspector.live} writes it. Pure."""

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
    """Where events go, and which.

    @ivar path: for JSON lines; C{-}: standard output. @ivar reveal: principals and properties are shown, too.
    @ivar follow: patterns of topics. @ivar commands: types of commands. Both as L{sniproxy.pulsar.filter.EventFilter}.
    """

    path: str
    reveal: bool = False
    follow: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def make_inspect_log(table: InspectLogTable, path: str) -> InspectLog:
    """@param path: the table's, from the file's folder. @raise BadInspectLog: a key is wrong."""
    if table.commands:
        from sniproxy.pulsar.filter import EventFilter  # all of Pulsar's commands take their time to load

        try:
            EventFilter((), table.commands)
        except ValueError as error:
            raise BadInspectLog("commands", table.commands, str(error)) from error
    return InspectLog(path, table.reveal, tuple(table.follow), tuple(table.commands))
