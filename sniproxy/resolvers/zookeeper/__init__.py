"""The ``zookeeper`` resolver: the live brokers of a cluster, by its metadata store. It needs kazoo."""
