"""The ``pulsar`` resolver: the live brokers of a cluster, by its admin API."""
