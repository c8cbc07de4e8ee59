"""Compares our `commands.proto` with the binary protocol in the jars of a version of Pulsar."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import Factory, frozen
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from tests.peers.jvm import java_command
from tests.peers.versions import Pulsar

#: Seconds that the JVM may take.
LONGEST = 120.0


@frozen
class Protocol:
    """Messages and enums of a version, as java/PulsarProtocol.java prints them."""

    #: By message and number: the field's name, and the name of its type.
    messages: dict[str, dict[int, tuple[str, str]]] = Factory(dict)
    #: By enum: the numbers of its values.
    enums: dict[str, dict[str, int]] = Factory(dict)


def parse(lines: Iterable[str]) -> Protocol:
    """The protocol in the lines; others are ignored."""
    protocol = Protocol()
    for line in lines:
        match line.split():
            case ["field", message, name, number, type_]:
                protocol.messages.setdefault(message, {})[int(number)] = (_plain(name), type_)
            case ["value", enum, name, number]:
                protocol.enums.setdefault(enum, {})[name] = int(number)
    return protocol


def read(pulsar: Pulsar) -> Protocol:
    """The protocol of the version. Raises subprocess.CalledProcessError."""
    command = java_command("PulsarProtocol", "64m", "warn", pulsar)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=True
    )
    return parse(done.stdout.splitlines())


def differences(protocol: Protocol, ours: Any, name: str, newest: bool) -> list[str]:
    """What our message, whose descriptor is `ours`, and those in it, say otherwise than theirs of that name, or lack.

    We must have all fields with a broker's URL, all feature flags, and all values of the enums that we have. We may
    have fields and values that theirs lack, unless it is the `newest` version.
    """
    return sorted(set(_differences(protocol, ours, name, newest, set())))


def _differences(protocol: Protocol, ours: Descriptor, name: str, newest: bool, seen: set[str]) -> Iterator[str]:
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    theirs = protocol.messages.get(name, {})
    for number, (field_name, _) in theirs.items():
        if number not in ours.fields_by_number and ("url" in field_name or name in ("BaseCommand", "FeatureFlags")):
            yield f"{name}.{field_name} = {number} is not in our {ours.name}"
    for field in ours.fields:
        if field.number not in theirs:
            if newest:
                yield f"our {ours.name}.{field.name} = {field.number} is not in their {name}"
            continue
        field_name, type_ = theirs[field.number]
        if _plain(field.name) != field_name:
            yield f"{name}.{field_name} = {field.number} is our {field.name}"
        if field.message_type is not None:
            yield from _differences(protocol, field.message_type, type_, newest, seen)
        elif field.enum_type is not None:
            yield from _enum_differences(protocol.enums.get(type_, {}), field.enum_type, type_, newest)


def _enum_differences(theirs: dict[str, int], ours: EnumDescriptor, name: str, newest: bool) -> Iterator[str]:
    numbers = {value.name: value.number for value in ours.values}
    for value, number in theirs.items():
        if numbers.get(value) != number:
            yield f"{name}.{value} = {number} is not in our {ours.name}"
    if newest:
        for value in numbers.keys() - theirs.keys():
            yield f"our {ours.name}.{value} = {numbers[value]} is not in their {name}"


def _plain(name: str) -> str:
    """A name without case and underscores: the jars have those of constants."""
    return name.replace("_", "").lower()
