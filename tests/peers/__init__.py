"""Real peers: Apache Pulsar's brokers and clients, openssl, curl and others, on both sides of `twistd sniproxy`.

`needs` names what a test misses, `provide` installs it (`make peers`). `children` manages processes, `material` makes
certificates and tokens, `cluster` runs brokers, `proxy` the proxy, `clients` the clients; `lab` makes each of them once
per run. Importing these modules starts nothing.
"""
