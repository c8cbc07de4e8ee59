"""The admin endpoint: what the proxy does right now, for people, scripts and Prometheus.

=============  ========================================================================================
``sources``    what this room asks the service, as small protocols: it does not know the service
``metrics``    counts what ended, and shows it to Prometheus
``refusals``   who was refused lately, and why
``topics``     the inspector's ledger and its events of late: the JSON of ``/topics``
``documents``  the JSON of ``/status``
``guard``      whose HTTP requests are answered
``site``       the HTTP server
``static``     the page at ``/``
=============  ========================================================================================
"""
