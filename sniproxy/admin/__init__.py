"""The admin endpoint: what the proxy does right now, for people, scripts and Prometheus.

=============  ========================================================================================
``sources``    what this room asks the service, as small protocols: it does not know the service
``metrics``    counts what ended, and shows it to Prometheus
``recentrefusals`` who was refused lately, and why
``topics``     the inspector's ledger and its events of late: the JSON of ``/topics``
``documents``  the JSON of ``/status``
``guard``      whose HTTP requests are answered
``token``      the secret of requests that change something
``rejections`` counts and logs what the endpoint refuses
``connections`` its connections: their number and their deadline
``slices``     makes long answers between the reactor's rounds
``tally``      counts tunnels and their bytes in slices
``rendering``  Prometheus's text in slices; ``process``: the metrics of the process
``site``       the HTTP server
``static``     the page at ``/``
=============  ========================================================================================
"""
