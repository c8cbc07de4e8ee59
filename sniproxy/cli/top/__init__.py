"""``sniproxyctl top``: a live view of running proxies in the terminal."""
