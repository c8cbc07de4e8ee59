"""The ``dns`` resolver: addresses and SRV records, by a DNS client of its own."""
