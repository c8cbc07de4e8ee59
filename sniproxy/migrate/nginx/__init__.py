"""Reads nginx's stream context: nginx.conf and what it includes. Pure."""

from sniproxy.migrate.nginx.reader import read

__all__ = ["read"]
