"""What a scripted broker reports, from its configuration and from its node, and what is read of it."""

from __future__ import annotations

import json
from typing import Any

from sniproxy.resolvers.pulsar.advertised import BrokerListeners, from_configuration, from_node
from sniproxy.resolvers.pulsar.brokers import LiveBroker

# As Pulsar 4.0.7 writes them; all values are texts.
CONFIGURATION = {
    "advertisedListeners": "internal:pulsar://127.0.0.1:6650,external:pulsar+ssl://Broker-1.pulsar.test:443,"
    "dns:pulsar+ssl://broker-1.dns.test:443",
    "bindAddresses": "external:pulsar+ssl://0.0.0.0:6651,kafka:SASL_SSL://0.0.0.0:9093",
    "brokerServicePortTls": "Optional.empty",
    "advertisedAddress": "one.internal",
}
NODE = {
    "pulsarServiceUrl": "pulsar://one.internal:6650",
    "pulsarServiceUrlTls": None,
    "advertisedListeners": {
        "internal": {"brokerServiceUrl": "pulsar://127.0.0.1:6650", "brokerServiceUrlTls": None},
        "external": {"brokerServiceUrl": None, "brokerServiceUrlTls": "pulsar+ssl://broker-1.pulsar.test:443"},
        "dns": {"brokerServiceUrlTls": "pulsar+ssl://broker-1.dns.test:443"},
    },
}
ID = "one.internal:8080"


def configured(choice: BrokerListeners = BrokerListeners(), **more: str | None) -> LiveBroker:  # noqa: B008
    return from_configuration(ID, json.dumps({**CONFIGURATION, **more}).encode(), choice)


def node(choice: BrokerListeners = BrokerListeners(), **more: Any) -> LiveBroker:  # noqa: B008
    return from_node(ID, json.dumps({**NODE, **more}).encode(), choice)


def place(broker: LiveBroker) -> tuple[str, str, int]:
    return broker.name, broker.host, broker.port


def leads(broker: LiveBroker) -> dict[str, tuple[str, int]]:
    """The listener and the dialled port of each name, the best claim first."""
    found: dict[str, tuple[str, int]] = {}
    for one in broker.all_names:
        found.setdefault(one.name.host, (one.name.listener, one.target.port))
    return found
