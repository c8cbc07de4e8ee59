"""Sockets: listen, accept, read the hello, look names up, dial and close.

The code uses plain non-blocking sockets registered with the reactor. Twisted transports would hide half-close and
read ahead. A socket has one owner at a time, and the owner closes it.

==================  =========================================================================
``listener``        accepts connections
``endpoints``       parses endpoint strings
``reuseport``       listens on a port that other processes share
``synfilter``       makes a listening socket ignore new clients before it closes
``unixsocket``      removes the paths of UNIX sockets
``portowner``       finds the process that listens on a busy port
``hello``           reads the ClientHello, by ``firstbytes``
``firstbytes``      reads a client's first message
``dialer``          dials targets in order
``connect``         starts to connect a socket
``transparent``     gives a socket the client's address
``overlapping``     schedules the attempts of a dial
``opensockets``     counts the open sockets of a dial
``veto``            denies targets and addresses
``lookup``          looks host names up in threads
``getaddrinfo``     calls the system's resolver for ``lookup``
``hostendpoint``    a Twisted client endpoint that uses ``lookup``
``daemonthread``    runs blocking work in a daemon thread
``tlssocket``       a socket with TLS
``handshake``       runs a TLS handshake
``descriptor``      the base class of sockets that are registered with the reactor
``sockopts``        socket options
``closer``          closes sockets so that the last bytes arrive
==================  =========================================================================
"""
