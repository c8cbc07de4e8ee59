"""Reads dlundquist/sniproxy's sniproxy.conf. Pure."""

from sniproxy.migrate.sniproxyconf.reader import read

__all__ = ["read"]
