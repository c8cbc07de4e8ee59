"""The options that say where a cluster's brokers are found: the same for all resolvers that know live brokers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniproxy.interfaces import BadOption, Kind, Option
from sniproxy.resolvers.pulsar.advertised import BrokerListeners, parse_host_map
from sniproxy.util.names import BadName, server_name

BROKER_OPTIONS = (
    Option("service_name", Kind.TEXTS, "names that lead to all healthy brokers: the host of clients' service URL", ()),
    Option("listener", Kind.TEXT, "the advertised listener that clients use; unless given, the first with TLS", None),
    Option("port", Kind.INTEGER, "the TLS port at which brokers are dialled; unless given, what they say", None),
    Option(
        "hosts",
        Kind.TEXTS,
        'hosts that are reached by another address, as in "broker-1.internal=10.0.0.1"',
        (),
    ),
)
"""What both resolvers of Pulsar's brokers take."""


def read_listeners(options: Mapping[str, Any], name: str = "{host}") -> BrokerListeners:
    """Of L{BROKER_OPTIONS}. @raise BadOption: one does not fit."""
    check_port("port", options["port"])
    try:
        mapped = parse_host_map(options["hosts"])
    except ValueError as error:
        raise BadOption("hosts", options["hosts"], str(error)) from error
    try:
        server_name(name.replace("{host}", "a.b").replace("{label}", "a"))
    except BadName as error:
        raise BadOption("name", name, f"{error}; write it as in {{label}}.pulsar.example.com") from error
    return BrokerListeners(options["listener"], options["port"], mapped, name)


def read_service_names(options: Mapping[str, Any]) -> tuple[str, ...]:
    """@raise BadOption: one is no name."""
    try:
        return tuple(map(server_name, options["service_name"]))
    except BadName as error:
        raise BadOption(
            "service_name", options["service_name"], f"{error}; write the host of the service URL"
        ) from error


def check_port(key: str, port: int | None) -> None:
    """@raise BadOption: it is none. None: it is left to the brokers."""
    if port is not None and not 0 < port < 65536:
        raise BadOption(key, port, "it is a number from 1 to 65535")
