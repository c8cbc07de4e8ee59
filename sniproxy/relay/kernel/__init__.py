"""The kernel relay: Linux forwards a tunnel's bytes from one socket into the other, and our process is not asked.

==================  ================================================================================================
``assembly``        a tiny assembler for BPF; pure
``program``         the program that decides about each segment, line by line; pure
``bpf``             the system call that loads it, and its maps
``gate``            the maps: which sockets, and what the kernel counts
``flow``            one direction: what the kernel did, and what is ours to do
``relay``           one tunnel, under the contract of L{sniproxy.relay.relay}
``ring``            by which the program names sockets that have something for us
``watch``           waits for the ring, and for what our process still has to do with sockets
``forwarding``      all of it for those who begin tunnels
``selftest``        shows on real sockets that this kernel does it right, by a ``loop`` of its own
``capabilities``    gives up what only loading needed
``opening``         opens it where a configuration asks for it
==================  ================================================================================================
"""
