"""The real peers: Apache Pulsar's brokers and clients, openssl and curl, on both sides of `twistd sniproxy`.

`needs` says what a test misses and how to get it, `provide` gets it (`make peers`). `children` keeps processes,
`material` makes certificates and tokens, `cluster` runs brokers, `proxy` runs the proxy, `clients` runs clients;
`lab` makes each of them once per run. Nothing is started when these modules are imported.
"""
