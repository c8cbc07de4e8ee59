"""Options of all resolvers of live brokers: names, listener and addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniproxy.interfaces import BadOption, Kind, Option
from sniproxy.resolvers.pulsar.advertised import BrokerListeners, parse_host_map
from sniproxy.resolvers.pulsar.listeners import PROTOCOLS
from sniproxy.util.names import BadName, server_name

BROKER_OPTIONS = (
    Option(
        "service_name", Kind.TEXTS, "names that lead to all healthy brokers: the host of the clients' service URL", ()
    ),
    Option("listener", Kind.TEXT, "advertised listener that clients use; default: the first with TLS", None),
    Option("protocol", Kind.TEXT, 'what names lead to: "pulsar", or "https", the admin API', "pulsar"),
    Option("port", Kind.INTEGER, "TLS port to dial at each broker; default: the port that it reports", None),
    Option(
        "hosts",
        Kind.TEXTS,
        'hosts to dial at another address, as in "broker-1.internal=10.0.0.1"',
        (),
    ),
)
"""Options of the C{pulsar} and the C{zookeeper} resolver."""


def read_listeners(options: Mapping[str, Any], name: str = "{host}") -> BrokerListeners:
    """Read L{BROKER_OPTIONS}. @param name: as in L{BrokerListeners}. @raise BadOption: an option is invalid."""
    check_port("port", options["port"])
    try:
        mapped = parse_host_map(options["hosts"])
    except ValueError as error:
        raise BadOption("hosts", options["hosts"], str(error)) from error
    try:
        server_name(name.replace("{host}", "a.b").replace("{label}", "a"))
    except BadName as error:
        raise BadOption("name", name, f"{error}; write it as in {{label}}.pulsar.example.com") from error
    protocol = PROTOCOLS.get(options["protocol"])
    if protocol is None:
        raise BadOption("protocol", options["protocol"], 'write "pulsar" or "https"')
    return BrokerListeners(options["listener"], options["port"], mapped, name, protocol)


def read_service_names(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The normalised service names. @raise BadOption: a name is invalid."""
    try:
        return tuple(map(server_name, options["service_name"]))
    except BadName as error:
        raise BadOption(
            "service_name", options["service_name"], f"{error}; write the host of the service URL"
        ) from error


def check_port(key: str, port: int | None) -> None:
    """@param port: None: the option is not set. @raise BadOption: the port is invalid."""
    if port is not None and not 0 < port < 65536:
        raise BadOption(key, port, "write a number from 1 to 65535")
