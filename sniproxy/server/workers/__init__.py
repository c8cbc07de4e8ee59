"""Several processes that serve one configuration, and a supervisor that starts, restarts and stops them.

=================  =========================================================================================
``supervisor``     starts the workers, restarts those that die, and forwards reload, reopen and stop
``upgrade``        replaces all workers, one after the other, by processes with the code that is on disk
``replacement``    then replaces the supervisor's program in its process, by execve(2)
``takeover``       the new program: reads what the one before hands over, and answers those that wait
``firstworker``    takes over from a process without workers, by the first worker
``handover``       the document that it reads. Pure
``processes``      the workers of a supervisor, and how they are handed over
``reloads``        sends a configuration to all workers
``beat``           asks each worker whether its event loop runs, and kills one that does not answer
``stall``          logs that this process's event loop was blocked, and where
``process``        one worker as the supervisor sees it: pipes, reports, exit
``adopted``        the process of a worker that the program before this one has started
``ends``           how a worker's process has ended, and how its upgrade
``entrance``       the main module of a worker's process
``post``           a worker's end of the pipes: its index, its configuration, and the supervisor's orders
``sockets``        a worker's listening sockets, which the supervisor keeps for the next one
``lines``          a worker's log, one event a line, on its way to the supervisor's log
``twistdoptions``  twistd's options that concern the proxy
=================  =========================================================================================

Workers share listening ports (``SO_REUSEPORT``), or sockets that systemd passed, and nothing else.
"""
