"""A resolver for sniproxy: brokers behind one host, each at a port of its own, by the number in their names."""
