"""A small Pulsar client on Twisted, for tools and tests: who owns a topic, one message there, one message back.

=============  =====================================================================================================
``failures``   the kinds of failure, and the one exception, pure
``logins``     what a client says in CONNECT of who it is, pure
``redirects``  where a lookup goes on, pure
``topics``     how topics are written, pure
``explaining`` from errors of TCP and TLS to a failure that names the cure
``session``    one connection: requests, answers, PING
``brokers``    dials brokers, directly or through a proxy, and keeps the sessions
``lookups``    partitions, and the owner of a topic by way of redirects, each hop as a value
``messages``   produce a message, read messages
=============  =====================================================================================================

It retries nothing, and keeps no connection alive by PINGs of its own: it answers those of brokers.
"""
