"""What stands on the wire before a tunnel does. Pure: bytes in, values out; no sockets, no clock, no Twisted."""
