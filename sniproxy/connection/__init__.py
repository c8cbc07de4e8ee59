"""One client connection: admission, hello, route, resolver, dial, TLS termination, tunnel, end.

================  ===============================================================================
``admission``     admits connections within the limits, and counts them
``handler``       calls the stages in order: the next four, and ``choose`` of ``routing.router``
``hello``         reads the hello
``resolve``       asks the route's resolver for targets
``dial``          connects to a target
``termination``   shakes hands with both sides, if the proxy terminates TLS
``tunnel``        starts the relay
``lifecycle``     begins and ends a connection; its result, alert and record
================  ===============================================================================
"""
