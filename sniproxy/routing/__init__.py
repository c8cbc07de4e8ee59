"""Chooses a route for a server name, and the order in which the route's targets are dialled. Pure.

================  ========================================================================
``router``        chooses the route of a hello, or refuses it
``table``         finds the route of a server name
``patterns``      names, wildcards and expressions
``backtracking``  refuses expressions that can backtrack without bound
``trial``         times expressions with names made to be slow
``targets``       parses targets, and orders them round robin
``templates``     targets with placeholders
``upstreams``     the state of targets: connections, drains, health, ejection
``targetstats``   counts of targets: connections, connects, bytes
``health``        the settings of health checks
``policy``        the destination policy for client-formed targets
``randoms``       detects loops through other proxies
================  ========================================================================
"""
