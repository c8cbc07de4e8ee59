"""``sniproxyctl explain``: what a configuration would do with a name, and why; with ``--connect``, how that goes.

=============  ====================================================================================
``routes``     which route a name takes, and why not the others; what clients make of a name. Pure
``report``     what was found, as values, as text, as JSON. Pure
``resolvers``  asks the resolvers: who answered, and what those know that watch
``brokernames`` which names lead to the same broker, for a broker's certificate must have all of them
``explainer``  asks these and the policy, and dials, by the proxy's own parts
``options``    the command's options
``command``    runs it
=============  ====================================================================================
"""
