"""The C{zookeeper} resolver: live brokers of a Pulsar cluster, from its metadata in ZooKeeper. It needs kazoo.

- ``resolver``: the resolver and its options;
- ``session``: a ZooKeeper session whose results arrive in the reactor thread;
- ``access``: TLS and authentication of the session.
"""
