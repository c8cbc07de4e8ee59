"""Several processes that serve one configuration, and the one that starts, replaces and stops them.

==============  ==========================================================================================
``plan``        pure: what each worker serves; what cannot be shared; how long the pause before another one is
``supervisor``  starts N workers, replaces one that dies, passes on what it is told: reload, reopen, stop
``beat``        asks each worker whether its event loop turns, and replaces one that does not answer
``stall``       says in the log that this process's event loop was blocked, and where
``process``     one worker as its supervisor sees it: pipes, what it says, its end
``entrance``    where a worker's process begins
``post``        a worker's own end of the pipes: which one it is, its configuration, what it is told
``sockets``     the listening sockets of a worker, which the supervisor keeps for the next one
``lines``       the log of a worker, an event a line, from its process to its supervisor's log
==============  ==========================================================================================

Workers share the ports that clients come in by (``SO_REUSEPORT``), or sockets that systemd passed, and nothing else.
"""
