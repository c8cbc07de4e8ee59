"""The demo cluster and the tour of `make run`. No other module imports this package.

``certificates``  a temporary CA and broker certificates, in memory
``topics``        topics, subscriptions and messages. Pure
``broker``        a small broker that speaks the Pulsar binary protocol
``cluster``       two brokers behind one service name, on loopback ports
``client``        a small PIP-60 client that dials only the proxy
``tour``          the program `python -m sniproxy.demo`
"""
