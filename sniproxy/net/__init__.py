"""Sockets: listen, accept, read the hello, look names up, dial and close.

The code uses plain non-blocking sockets registered with the reactor. Twisted transports would hide half-close and
prevent ``splice``. A socket has one owner at a time, and the owner closes it.
"""
