"""All warnings about a configuration that is valid, for the operator."""

from __future__ import annotations

from sniproxy.config.describe import warnings
from sniproxy.config.diagnostics.permissions import file_warnings
from sniproxy.config.model import Configuration
from sniproxy.config.warnings import no_service_route


def operator_warnings(configuration: Configuration) -> list[str]:
    """What the operator should look at, a sentence each. Reads the permissions of the files that it names."""
    return [*warnings(configuration), *no_service_route(configuration), *file_warnings(configuration)]
