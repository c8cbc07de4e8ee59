"""Apache Pulsar's binary protocol. Pure. Bytes in, values out: no sockets, no clock, no Twisted.

===============  ===================================================================================================
``frames``       cuts a byte stream into frames, payloads included, and writes frames
``walker``       walks along a byte stream frame by frame, and steps over payloads
``resync``       finds the next frame in a stream that is read from the middle
``commands``     reads and writes the command in a frame
``commands_pb2`` generated from ``commands.proto`` by `make proto`: never edit it by hand
``events``       what an inspector tells of a connection: all events and their fields
``inspection``   the bytes of one connection in, events out; above ``walker``, ``resync`` and ``dialogue``
``dialogue``     commands in, events out: what a client and a broker say to each other
``pending``      requests that wait for their answers
``revealing``    the parts that are shown only when they are asked for
``placement``    the parts of events that carry brokers' URLs
``memory``       a dictionary that cannot grow without bound
``ledger``       events in: which broker has which topic, and how that changed
``entries``      what the ledger knows of a topic
``clusters``     which places are of one cluster, by the brokers that are named there
``choice``       which events somebody wants to see, by topic and command
``lines``        events as lines, for programs and for people
===============  ===================================================================================================
"""
