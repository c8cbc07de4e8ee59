"""One admin endpoint for all workers: the supervisor asks each of them, and merges the answers.

=============  ==============================================================================================
``site``       the HTTP server of the supervisor
``endpoint``   opens it where the configuration says, and moves it at a reload
``state``      what the supervisor itself knows of the proxy
``shared``     answers equal requests once, and bounds the others
``queries``    asks all workers at the same time, with a deadline
``link``       the supervisor's connections to one worker
``channel``    a worker's end of these, where its own admin site listens
``drains``     the drains that operators began, which a restarted worker continues
``metrics``    merges the Prometheus metrics. Pure
``owned``      the metrics of the supervisor itself
``totals``     adds up the totals of workers, those that have ended included
``documents``  merges the JSON, ``topics`` that of ``/topics``
=============  ==============================================================================================
"""
