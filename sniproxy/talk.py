"""Deprecated: the modules of this package are in L{sniproxy.client}. This one is removed in 0.2."""

import sys
import warnings
from importlib import import_module

warnings.warn("sniproxy.talk is deprecated: import from sniproxy.client", DeprecationWarning, stacklevel=2)

__path__: list[str] = []
for _name in ("brokers", "failures", "logins", "lookups", "messages", "redirects", "session", "topics"):
    sys.modules[f"{__name__}.{_name}"] = import_module(f"sniproxy.client.{_name}")
sys.modules[f"{__name__}.explaining"] = import_module("sniproxy.client.diagnosis")
