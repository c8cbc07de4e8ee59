"""The kernel relay: a BPF program forwards a tunnel's bytes from socket to socket without waking the proxy.

================  ==================================================================================================
``assembly``      a small assembler for BPF; pure
``program``       the program that decides about each segment, line by line; pure
``bpf``           bpf(2): creates maps, loads and attaches the program
``sockmap``       the BPF maps: the sockets of tunnels, and the kernel's counters
``flow``          one direction of a tunnel: counters, windows, and the bytes that the process copies
``relay``         one tunnel, under the contract of L{sniproxy.relay.relay}
``ring``          the ring buffer through which the program names sockets that have bytes to read
``watch``         waits for the ring buffer and for the sockets, with one epoll
``factory``       makes a kernel relay for two connected sockets
``selftest``      checks forwarding on real sockets at start, with the small reactor in ``loop``
``capabilities``  drops the capabilities that only loading needs
``loader``        loads the program if the configuration asks for it
================  ==================================================================================================
"""
