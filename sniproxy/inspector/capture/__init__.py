"""From a packet capture to Pulsar events: files, packets, TCP streams, conversations. Pure but for the given file.

``files`` takes a capture file apart, ``packets`` finds TCP segments in what was captured (``layers`` and
``tunnels`` remove the headers before TCP), ``streams`` puts the segments in order (``direction`` is one way of a
stream), ``sniff`` says what a stream is, and ``conversations`` hands
the Pulsar ones to the inspector; ``reading`` does all of it in one go.
"""
