"""The only room with sockets: accept, read the hello, dial, relay, close in order.

Everything here works on plain non-blocking sockets that are registered with the reactor, not on Twisted transports: a
wrapper between would hide half-close and stand in the way of ``splice``. A socket has one owner at a time; who takes
it over closes it.
"""
