"""Apache Pulsar's binary protocol: frames, commands and service URLs, without I/O. Pure.

===============  ===================================================================================================
``frames``       splits a byte stream into frames, with their payloads, and writes frames
``walker``       reads a byte stream frame by frame and skips payloads
``resync``       finds the next frame in a stream that begins in the middle of one
``commands``     reads and writes the command of a frame
``commands_pb2`` generated from ``commands.proto`` by `make proto`; do not edit
``events``       events of inspected connections: their names and fields
``filter``       selects events by topic and command
``topicname``    names of topics: namespaces, partitions, segments
``serviceurl``   reads service URLs and PIP-60's proxy settings
===============  ===================================================================================================
"""
