"""An upgrade: a new process takes over the listening sockets and the tunnels of this one, which then ends.

===============  ================================================================================================
``command``      the program: starts an upgrade at a signal or a request; pid file and service manager follow
``succession``   a proxy's upgrades: its predecessors, its successor
``old``          in the old process: one upgrade, from the request to the end of the process
``program``      starts the new process, and keeps what it writes until it is in charge
``sender``       in the old process: moves the tunnels, one after the other
``predecessor``  in the new process: takes the sockets, and is in charge after the commit
``receiver``     in the new process: takes the tunnels
``listening``    what both hold, release and hand over: listeners, the admin endpoint, drains, faults
``messages``     what the two processes say to each other
``channel``      carries messages and descriptors between them
===============  ================================================================================================

The old process starts the new one with one end of a socket pair, which no other process can reach::

    old                                             new
    offer, socket (one a listener), offered   -->   reads its configuration, listens on the sockets
                                              <--   ready, or refused
    tunnel, held bytes                        -->   (for each tunnel; the old process has stopped its relay)
                                              <--   took: now the tunnel is the new one's; or declined
    commit: the old one has stopped accepting -->   accepts, serves the admin endpoint
                                              <--   committed; writes the pid file
    tunnels that could not move before        -->
    remaining: what is left in the old one    -->
                                              <--   drains, reopen: as the operator orders

If the new process is a supervisor of workers, its first worker speaks for it: L{sniproxy.server.workers.firstworker}.

Until C{took}, a tunnel belongs to the old process; until C{committed}, so do the listeners. If the new process fails
before that, the old one continues with them, and the new one stops accepting if it has begun. If the old process fails,
the new one continues with what it has.
"""
