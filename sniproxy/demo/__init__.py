"""The embedded stand-in cluster and the tour of `make run`. Nothing outside this package imports it.

``certificates``  a throw-away CA and a certificate for each broker, made in memory
``topics``        topics, subscriptions and their messages; pure
``broker``        one small broker that speaks Pulsar's binary protocol
``cluster``       two of them behind one service name, on loopback ports
``client``        a tiny PIP-60 client, which dials nothing but the proxy
``tour``          what `python -m sniproxy.demo` shows
"""
