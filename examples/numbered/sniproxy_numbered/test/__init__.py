"""Run by ``trial sniproxy_numbered``."""
