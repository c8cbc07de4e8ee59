"""Reads Pulsar's protocol in live tunnels and packet captures, and records which broker owns which topic.

==============  ====================================================================================================
``live``        inspects the tunnels of plaintext listeners and bridges, and writes the event log
``capture``     reads packet captures
``inspection``  turns the bytes of one connection into events; uses ``dialogue``
``dialogue``    turns the commands of one connection into events; uses the next two
``scalable``    scalable topics and their consumers (Pulsar 5.0), transaction coordinators
``topiclists``  lists and watches of a namespace's topics
``pending``     requests that wait for their answers
``oversized``   answers that are too long to hold
``revealing``   parts of events that are shown only if ``reveal`` is set: principals and properties
``placement``   parts of events that carry brokers' URLs
``advertised``  the brokers that an event names, for the check against the routes
``ledger``      turns events into a record of which broker owns which topic, and of moves
``entries``     the ledger's entries for topics and namespaces
``clusters``    tells which connections lead to the same cluster
``format``      writes events as JSON or readable lines
==============  ====================================================================================================

The commands, frames and event definitions are in `sniproxy.pulsar`.
"""
