"""TLS where it ends at the proxy on purpose: keys and certificates, which one is shown, and who is trusted.

=============  ======================================================================================================
``pem``        PEM text in, certificates and keys out; pure
``choice``     which certificate is shown for a server name; pure
``contexts``   what a TLS stack is made of: our side towards clients, and towards brokers, whose names are verified
``reloading``  files that are read again when they change; a bad new version changes nothing
=============  ======================================================================================================

Sockets that speak TLS are in L{sniproxy.net.tlssocket}.
"""
