"""The configuration, from TOML text to checked values.

``schema`` has the tables and keys of the file. ``parser`` checks them with ``checks`` and the modules of single tables
(``listeners``, ``limits``, ``bridges`` ...). ``model`` has the checked values. ``diagnostics`` finds all errors and
their lines. ``describe``, ``warnings`` and ``dump`` show a configuration in ``--check`` and ``/status``.

Programs that embed the proxy use L{parse}, L{from_options} and C{ConfigError} of this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sniproxy.config.model import Configuration as Configuration
    from sniproxy.config.parser import from_options as from_options
    from sniproxy.config.parser import parse as parse
    from sniproxy.config.schema import ConfigError as ConfigError


_MODULES = {"Configuration": "model", "ConfigError": "schema", "from_options": "parser", "parse": "parser"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
