"""The inspector: what clients and brokers say to each other in Pulsar's protocol, and which broker owns which topic.

``live`` reads the tunnels of plaintext listeners, ``capture`` reads packet captures. Both feed ``inspection``, one
connection in events out, and the ``ledger`` of topics.
"""
