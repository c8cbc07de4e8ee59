"""The running proxy: builds a configuration, listens, tracks connections, feeds observers, drains and reloads.

================  ==========================================================================
``build``         makes resolvers, routes, endpoints and TLS settings, without opening any
``listeners``     opens, changes and closes the listening sockets
``connections``   admits, starts and tracks client connections
``observers``     feeds the logs, the inspector, the metrics and the admin endpoint
``resolverset``   starts and stops resolvers
``healthchecks``  connects to targets periodically
``routecheck``    checks that every advertised broker has a route
``reloader``      reloads the configuration
``sdnotify``      tells systemd the state of the program
``drain``         drains a target or a route
``shutdown``      ends the connections of a proxy that stops
``view``          what the admin endpoint shows
``workers``       several processes with one configuration, and their supervisor
================  ==========================================================================
"""
