"""The command ``sniproxyctl who``: the clients behind addresses that a broker shows.

* L{sniproxy.cli.who.command}: options and output
* L{sniproxy.cli.who.logs}: searches access logs
* L{sniproxy.cli.who.brokerstats}: asks a broker's admin API for the clients of a topic
"""
