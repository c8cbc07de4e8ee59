"""Faults on purpose, for tests of Pulsar clients: C{[[fault]]} and C{sniproxyctl fault}.

`active` has the faults of one proxy and counts them. For each tunnel that a fault concerns, `relay` moves the bytes in
place of the usual relays: each direction passes a `gate`, which reads commands with `reader`. `tunnel` decides which
fault a command gets; `topics` knows its topic, and `answers` writes what is sent in its place. Other tunnels have
nothing of this.
"""
