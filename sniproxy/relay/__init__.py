"""The relay moves a tunnel's bytes between the sockets of the client and the target.

``relay`` has the contract, and the relay in Python: ``direction`` is one of its directions, ``tee`` shows the bytes to
a tap, and ``pacing`` limits the work for inspected tunnels. ``engine`` hands plain tunnels to native threads;
``selector`` chooses between the two. ``leaving`` detects peers that leave while they are not read, ``vanished`` peers
that disappear.
"""
