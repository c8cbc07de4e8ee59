"""The admin endpoint: status page, JSON and Prometheus metrics over HTTP; drains of targets and routes.

===================  ================================================================
``sources``          what the endpoint needs from the service, as protocols and values
``site``             answers requests about one process
``guardedsite``      the HTTP server: checks requests and bounds connections
``static``           the page at ``/``
``guard``            checks Host, Origin and token of requests. Pure
``token``            reads the token file
``connections``      limits and times out HTTP connections
``rejections``       counts and logs refused requests and connections
``documents``        the JSON of ``/status``
``topics``           the JSON of ``/topics``
``ledgerdocument``   reads the ledger in it. Pure
``aggregation``      merges the JSON of several processes. Pure
``recentrefusals``   the clients that the proxy refused recently
``metrics``          the Prometheus metrics; ``process``: those of the process
``tally``            counts tunnels and their bytes in steps
``rendering``        renders the Prometheus text in batches
``slices``           runs long work in slices between the reactor's iterations
===================  ================================================================
"""
