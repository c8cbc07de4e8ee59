"""The life of one client connection: admission, hello, route, resolver, dial, TLS termination, tunnel, end.

``handler`` has the stages in order; ``lifecycle`` has the record, the result and the end, whatever the handler.
"""
