"""The commands of ``sniproxyctl``.

``commands`` registers them; ``subcommand`` makes the parser of each. ``lookup`` (with ``lookupoptions`` and
``lookupreport``) and ``explain`` are one command each. ``admincommands`` has ``status`` and ``drain``; it queries
running proxies by ``adminclient`` and merges several by ``sniproxy.admin.aggregation``. ``captureoptions`` and
``ledgertables`` belong to ``inspect`` and ``topics`` (``sniproxy.ctl``). ``reactor`` runs a command; ``exitstatus``
names exit statuses.
"""
