"""The C{pulsar} resolver: live brokers of a Pulsar cluster, from its admin API.

- ``resolver``: the resolver and its options;
- ``admin``: the client of the admin API;
- ``advertised``: reads what brokers advertise;
- ``brokers``: the live brokers and the names that lead to them;
- ``listeners``: reads the URLs of listeners;
- ``directory``: what a resolver knows of its cluster, with brokers that have left;
- ``waiters``: queries that wait for a refresh;
- ``options``: options that the C{zookeeper} resolver has, too.

The C{zookeeper} resolver also uses ``advertised``, ``brokers``, ``directory`` and ``waiters``.
"""
