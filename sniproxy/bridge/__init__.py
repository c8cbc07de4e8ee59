"""The bridge: plain Pulsar clients, without PIP-60 or TLS, to brokers behind an SNI proxy.

A client uses the bridge as its service URL, and takes it for a Pulsar proxy: lookup answers tell it to connect to the
same address (``proxy_through_service_url``) and to name the broker in CONNECT (``proxy_to_broker_url``). The bridge
connects to that broker through the SNI proxy, with TLS and the broker's name as server name.

==============  ====================================================================================
``handler``     the stages of a client's connection
``firstframe``  reads a client's first frame, which must be CONNECT
``tunnel``      the tunnel of one client: its directions, and the redirects that it follows
``direction``   the direction from the broker to the client, which rewrites frames
``stream``      finds the frames to rewrite; pure
``answers``     rewrites them: lookup answers, CLOSE_PRODUCER, CLOSE_CONSUMER, TOPIC_MIGRATED; pure
``pending``     lookups that wait for an answer, and the client's newest credentials; pure
``redirects``   follows redirects for the client, on separate connections
``runtime``     what the connections of one bridge share
==============  ====================================================================================
"""
