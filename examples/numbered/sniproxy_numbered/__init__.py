"""A resolver for sniproxy: brokers behind one host, each at its own port, by the number in the name."""
