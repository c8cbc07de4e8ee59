"""The relay moves a tunnel's bytes between the sockets of the client and the target.

``relay`` has the contract. ``direction`` is one direction; ``splice``, ``copy`` and ``tee`` move its bytes; ``kernel``
makes the Linux kernel move them. ``poller`` and ``reactor`` wait for the sockets. ``pacing`` limits the work for
inspected tunnels. ``leaving`` detects clients that leave before the tunnel is open, ``vanished`` peers that disappear.
"""
