"""Apache Pulsar's binary protocol, pure: bytes in, values out; no sockets, no clock, no Twisted.

``frames`` cuts a byte stream into frames and writes frames; ``commands`` reads and writes the command in one.
``commands_pb2`` is generated from ``commands.proto`` by `make proto`: never edit it by hand.
"""
