"""The bridge: plain Pulsar clients, which know nothing of PIP-60 or TLS, to brokers behind an SNI proxy.

A client uses the bridge as its service URL. It believes to talk to a Pulsar proxy: lookups tell it to come back to the
same place (``proxy_through_service_url``) and to name in CONNECT the broker that it wants (``proxy_to_broker_url``).
The bridge speaks TLS with that broker, whose name it puts into SNI, through the proxy.

=============  =====================================================================================================
``stream``     walks a broker's frames, and takes out those few that are rewritten; pure
``answers``    how those are rewritten: lookups, what closes producers and consumers, migrations; pure
``allowing``   which brokers a client may be led to; pure
``asked``      what a client asked that waits for its answer, and its newest credentials; pure
``first``      waits for a client's first frame, which must be CONNECT
``following``  follows redirects in the client's place, on connections of its own
``direction``  a relay's direction whose frames are rewritten on their way
``crossing``   one client's connection, from accept to end
=============  =====================================================================================================
"""
