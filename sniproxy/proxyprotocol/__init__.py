"""The PROXY protocol, versions 1 and 2: reads and writes its headers. Pure.

Source: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt (the specification). A header in front of a
connection tells the receiver the addresses of the connection that the sender has accepted.

* L{sniproxy.proxyprotocol.header}: what a header says
* L{sniproxy.proxyprotocol.reader}: bytes to a header
* L{sniproxy.proxyprotocol.tlvs}: the optional fields of version 2
* L{sniproxy.proxyprotocol.writer}: a header to bytes
* L{sniproxy.proxyprotocol.sending}: the headers that targets get
"""
