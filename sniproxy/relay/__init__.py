"""The relay: it moves a tunnel's bytes between the client's and the target's socket.

``relay`` is the contract. ``direction`` is one direction; ``splice``, ``copy`` and ``tee`` move its bytes; ``kernel``
lets the Linux kernel do it. ``poller`` and ``reactor`` wait for the sockets.
"""
