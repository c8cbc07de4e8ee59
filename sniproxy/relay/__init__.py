"""The relay moves a tunnel's bytes between the sockets of the client and the target.

``relay`` has the contract, and the relay in Python. ``engine`` hands plain tunnels to native threads; ``selector``
starts it, as the configuration asks. ``direction`` is one direction of the relay in Python; ``splice``, ``copy`` and
``tee`` move its bytes. ``poller`` and ``reactor`` wait for the sockets. ``pacing`` limits the work for
inspected tunnels. ``leaving`` detects clients that leave before the tunnel is open, ``vanished`` peers that disappear.
"""
