"""TLS: hellos, alerts and first bytes; certificates, keys, trust and TLS contexts.

==================  ================================================================
``clienthello``     reads a ClientHello; pure
``alerts``          the alerts that the proxy sends; pure
``nottls``          recognises other protocols by their first bytes; pure
``pem``             parses certificates and keys in PEM; pure
``pemfiles``        reads PEM files and folders, and the certificates to trust
``selection``       chooses the certificate for a server name; pure
``contexts``        OpenSSL contexts for the proxy's server side and for brokers
``clientcontext``   TLS settings for Twisted's clients
``reloaded``        values that follow changes of their files
==================  ================================================================

A socket that encrypts is a L{sniproxy.net.tlssocket.TLSSocket}.
"""
