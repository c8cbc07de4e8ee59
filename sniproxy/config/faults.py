"""Checks C{[[fault]]} tables: faults on purpose, for tests of Pulsar clients. Pure.

Loaded only for configurations that have one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from sniproxy.config.checks import Check
from sniproxy.config.fault import Fault, fault_warnings
from sniproxy.config.faultcommands import (
    CLIENT_COMMANDS,
    COMMANDS,
    CONSUMER_COMMANDS,
    ERROR_COMMANDS,
    PRODUCER_COMMANDS,
    SERVER_ERRORS,
    SHARED_COMMANDS,
    TOPIC_COMMANDS,
)
from sniproxy.config.model import Bridge, Configuration
from sniproxy.config.schema import FaultEntry
from sniproxy.interfaces import BadValue
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.pulsar.topicname import full_name
from sniproxy.routing.patterns import route_pattern
from sniproxy.util.names import BadName

MAX_FAULTS = 100
"""Faults of one proxy, with those that C{sniproxyctl fault} adds."""

MAX_SECONDS = 86_400.0
MAX_COUNT = 10**9
MAX_RATE = 10.0**9
MAX_BYTES = 10**15

CLIENT, BROKER = "client", "broker"
SENDERS = (CLIENT, BROKER)
RESPONSES = ("redirect", "connect")

# The keys of each action, those that it needs first.
_NEEDED: dict[str, tuple[str, ...]] = {
    "delay": ("seconds",),
    "reset": (),
    "half_close": (),
    "stop": (),
    "cut": (),
    "rate": ("rate",),
    "drop": (),
    "redirect": ("url",),
    "error": ("error",),
    "close_producer": (),
    "close_consumer": (),
    "migrate": ("url",),
}
_OPTIONAL = {"redirect": ("response",), "error": ("message",), "close_producer": ("url",), "close_consumer": ("url",)}
_PARAMETERS = ("seconds", "rate", "url", "response", "error", "message")
_WITH_COMMAND: dict[str, Collection[str]] = {
    "drop": COMMANDS,
    "redirect": ("LOOKUP", "LOOKUP_RESPONSE"),
    "error": ERROR_COMMANDS,
    "close_producer": PRODUCER_COMMANDS,
    "close_consumer": CONSUMER_COMMANDS,
    "migrate": PRODUCER_COMMANDS | CONSUMER_COMMANDS,
}
ACTIONS = tuple(_NEEDED)
"""All actions."""

_EXAMPLES = {
    "seconds": "seconds = 2.5",
    "rate": "rate = 1000, in bytes per second",
    "url": 'url = "pulsar://broker-2.example.com:6650"',
    "error": 'error = "ServiceNotReady"',
}


def with_faults(
    check: Check, configuration: Configuration, entries: Sequence[FaultEntry], workers: int
) -> Configuration:
    """The configuration with the faults of its file. @raise ConfigError: a value is wrong."""
    listeners = pulsar_listeners(configuration)
    faults: dict[str, Fault] = {}
    for number, entry in enumerate(entries):
        fault = check.converted(f"fault[{number}]", partial(make_fault, entry, listeners, faults))
        faults[fault.name] = fault
    notes = (*configuration.notes, *fault_warnings(list(faults.values()), workers))
    return replace(configuration, faults=tuple(faults.values()), notes=notes)


def pulsar_listeners(configuration: Configuration) -> dict[str, bool]:
    """All listeners and bridges by name, and whether the proxy sees Pulsar's commands there."""
    return {
        one.name: isinstance(one, Bridge) or one.plaintext is not None or one.termination is not None
        for one in configuration.entrances
    }


def make_fault(entry: FaultEntry, listeners: Mapping[str, bool], names: Collection[str]) -> Fault:
    """Make a fault. @param listeners: see L{pulsar_listeners}. @param names: those that are taken.

    @raise BadValue: a value is wrong.
    """
    if len(names) >= MAX_FAULTS:
        raise BadValue("action", entry.action, f"there are {MAX_FAULTS} faults already; remove some")
    if entry.action not in _NEEDED:
        raise BadValue("action", entry.action, f"write one of {', '.join(ACTIONS)}")
    name = _name(entry.name, names)
    _check_parameters(entry)
    command, sender = _trigger(entry)
    _check_listener(entry, listeners)
    return Fault(
        name,
        entry.action,
        entry.listener,
        command,
        None if command is None else COMMANDS[command],
        sender,
        None if entry.topic is None else full_name(entry.topic),
        _server_name(entry.server_name),
        _number("after_bytes", entry.after_bytes, 0, MAX_BYTES),
        _number("after_seconds", entry.after_seconds, 0.0, MAX_SECONDS),
        _number("nth", entry.nth, 1, MAX_COUNT),
        _most(entry),
        _number("probability", entry.probability, 1e-9, 1.0),
        entry.seed,
        _number("seconds", entry.seconds, 0.001, MAX_SECONDS) or 0.0,
        _number("rate", entry.rate, 0.1, MAX_RATE) or 0.0,
        _url(entry.url),
        entry.response == "connect",
        entry.error or "",
        entry.message,
    )


def fault_entry(values: Mapping[str, str]) -> FaultEntry:
    """Make an entry of texts, as a command line has them. @raise BadValue: a key is unknown, or a value no number."""
    known = dict(zip(FaultEntry.__struct_encode_fields__, FaultEntry.__struct_fields__, strict=True))
    for key, value in values.items():
        if key not in known:
            raise BadValue(key, value, f"unknown key; use {', '.join(known)}")
        try:
            msgspec.convert({"action": "", key: value}, FaultEntry, strict=False)
        except msgspec.ValidationError:
            raise BadValue(key, value, "write a number") from None
    if "action" not in values:
        raise BadValue("action", None, f"write one of {', '.join(ACTIONS)}")
    return msgspec.convert(dict(values), FaultEntry, strict=False)


def _name(name: str | None, names: Collection[str]) -> str:
    if name is None:
        return next(free for number in range(1, MAX_FAULTS + 2) if (free := f"fault-{number}") not in names)
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise BadValue("name", name, "write a printable name of at most 100 characters, or remove the key")
    if name in names:
        raise BadValue("name", name, "another fault has this name; give each its own")
    return name


def _check_parameters(entry: FaultEntry) -> None:
    needed, optional = _NEEDED[entry.action], _OPTIONAL.get(entry.action, ())
    for key in _PARAMETERS:
        value = getattr(entry, key)
        if value is None and key in needed:
            raise BadValue(key, None, f'action = "{entry.action}" needs it; write {_EXAMPLES[key]}')
        if value is not None and key not in (*needed, *optional):
            raise BadValue(key, value, f'action = "{entry.action}" has no such key; remove it')
    if entry.response is not None and entry.response not in RESPONSES:
        raise BadValue("response", entry.response, 'write "redirect" or "connect"')
    if entry.error is not None and entry.error not in SERVER_ERRORS:
        raise BadValue("error", entry.error, f"write the name of a ServerError: {', '.join(SERVER_ERRORS)}")


def _trigger(entry: FaultEntry) -> tuple[str | None, str | None]:
    """The command and the sender. @raise BadValue: the conditions contradict each other."""
    if entry.sender not in (None, *SENDERS):
        raise BadValue("from", entry.sender, 'write "client" or "broker"')
    if entry.after_bytes is not None and entry.after_seconds is not None:
        raise BadValue("after_seconds", entry.after_seconds, "write either after_bytes or after_seconds")
    allowed = _WITH_COMMAND.get(entry.action)
    if entry.on is None:
        if allowed is not None:
            cure = f'action = "{entry.action}" needs it; write the name of a command, as in on = "{min(allowed)}"'
            raise BadValue("on", None, cure)
        if entry.topic is not None:
            raise BadValue("topic", entry.topic, 'only for commands; write on, as in on = "SEND"')
        return None, entry.sender or BROKER
    if entry.on not in COMMANDS:
        cure = "it is no type of BaseCommand in PulsarApi.proto; write LOOKUP_RESPONSE, SEND, SEND_RECEIPT, CONNECTED"
        raise BadValue("on", entry.on, cure)
    for key in ("after_bytes", "after_seconds"):
        if getattr(entry, key) is not None:
            raise BadValue(key, getattr(entry, key), "only without on; write nth to choose a command by its number")
    if allowed is not None and entry.on not in allowed:
        raise BadValue("on", entry.on, f'action = "{entry.action}" needs another command; write {_some(allowed)}')
    if entry.topic is not None and entry.on not in TOPIC_COMMANDS:
        raise BadValue("topic", entry.topic, f"{entry.on} concerns no topic; remove the key")
    sender = None if entry.on in SHARED_COMMANDS else CLIENT if entry.on in CLIENT_COMMANDS else BROKER
    if sender is not None and entry.sender not in (None, sender):
        raise BadValue("from", entry.sender, f"only the {sender} sends {entry.on}; remove the key")
    if entry.action == "error" and entry.on in SHARED_COMMANDS:
        if entry.sender == BROKER:
            raise BadValue("from", entry.sender, f'a {entry.on} of the broker has no answer; write from = "client"')
        return entry.on, CLIENT
    return entry.on, entry.sender


def _check_listener(entry: FaultEntry, listeners: Mapping[str, bool]) -> None:
    if entry.listener is not None and entry.listener not in listeners:
        raise BadValue("listener", entry.listener, f"no listener has this name; listeners: {', '.join(listeners)}")
    if entry.on is None or (any(listeners.values()) if entry.listener is None else listeners[entry.listener]):
        return
    cure = (
        "the proxy reads commands only on listeners with plaintext = true or certificates, and on bridges; "
        "write after_bytes or after_seconds for TLS that it passes through"
    )
    raise BadValue("on", entry.on, cure)


def _server_name(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return route_pattern(text)
    except BadName as error:
        raise BadValue("server_name", text, str(error)) from error


def _url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        url = parse_service_url(text, "url")
    except BadServiceURL as error:
        raise BadValue("url", text, str(error)) from error
    if len(url.hosts) > 1:
        raise BadValue("url", text, "write the URL of one broker, with one host")
    return str(url)


def _most(entry: FaultEntry) -> int:
    if entry.times is None:
        return 0 if entry.nth is None else 1
    return int(_number("times", entry.times, 0, MAX_COUNT) or 0)


def _number(key: str, value: Any, least: float, most: float) -> Any:
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise BadValue(key, value, f"must be a number from {least:g} to {most:.10g}")
    return value


def _some(allowed: Collection[str]) -> str:
    names = sorted(allowed)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
