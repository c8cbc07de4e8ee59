"""One client connection: admission, hello, route, resolver, dial, TLS termination, tunnel, end.

``handler`` calls the stages in order, each a function in the file of its name. ``lifecycle`` has the record and the
end.
"""
