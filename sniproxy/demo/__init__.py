"""The demo cluster and the tour of `make run`. No other module imports this package.

The cluster is the embedded one of ``sniproxy.testing.pulsar``.

``client``   a small PIP-60 client that dials only the proxy
``printer``  wraps and colours what the tour prints
``tour``     the program `python -m sniproxy.demo`
"""
