"""Turns a packet capture into Pulsar events. Pure, except that it reads the given file.

=================  =================================================================================================
``files``          reads pcap and pcapng files
``layers``         removes link-layer and other headers until it finds TCP
``tunnels``        removes IP headers and tunnels in IP, for ``layers``
``headers``        values that ``layers`` and ``tunnels`` share
``packets``        finds the TCP segments in captured packets
``streams``        reassembles TCP connections
``direction``      one direction of a TCP connection, for ``streams``
``sniff``          recognizes Pulsar and TLS by the first bytes of a stream
``conversations``  inspects the connections that carry Pulsar
``reading``        does all of this for one capture file
=================  =================================================================================================
"""
