"""``sniproxyctl explain``: shows where a configuration routes a name, and why; with ``--connect``, dials the targets.

===============  =================================================================
``options``      the command-line options. Pure
``command``      runs the command
``explainer``    follows a name through route, resolver, policy and dial
``routes``       chooses the route, and says why the others do not match. Pure
``resolvers``    queries the resolvers
``brokernames``  finds the names that lead to the same broker
``report``       the result as values, text and JSON. Pure
===============  =================================================================
"""
