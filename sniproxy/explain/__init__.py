"""``sniproxyctl explain``: what a configuration would do with a name, and why; with ``--connect``, how that goes.

=============  ====================================================================================
``why``        which route a name takes, and why not the others; what clients make of a name. Pure
``report``     what was found, as values, as text, as JSON. Pure
``looking``    asks the resolver and the policy, and dials, by the proxy's own parts
``options``    the command's options
``command``    runs it
=============  ====================================================================================
"""
