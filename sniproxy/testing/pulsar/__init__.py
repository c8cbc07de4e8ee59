"""An embedded Pulsar cluster for tests of clients: brokers in the test's process, with faults as calls.

================  =======================================================================
``cluster``       `PulsarCluster`: brokers, topics that move, certificates
``broker``        `EmbeddedBroker`: what its clients did, and its faults
``connection``    one client's connection: login, keep-alive, faults
``commandlog``    the commands that brokers have received
``faults``        faults at commands (pure)
``lookups``       partitions, owners, topics of a namespace (pure)
``producers``     producers and their messages (pure)
``consumers``     consumers, acknowledgements and positions (pure)
``schemas``       schemas, stored as they are (pure)
``session``       the producers and consumers of a connection (pure)
``state``         topics, owners and settings of a cluster (pure)
``topics``        messages and subscriptions in memory (pure)
``hidden``        fields that commands.proto does not name (pure)
``certificates``  a temporary CA and broker certificates, in memory
``threads``       a reactor in a thread of its own
================  =======================================================================
"""

from sniproxy.testing.pulsar.broker import BrokerEvent, EmbeddedBroker
from sniproxy.testing.pulsar.cluster import PulsarCluster
from sniproxy.testing.pulsar.commandlog import ReceivedCommand
from sniproxy.testing.pulsar.connection import EmbeddedConnection

__all__ = ["BrokerEvent", "EmbeddedBroker", "EmbeddedConnection", "PulsarCluster", "ReceivedCommand"]
