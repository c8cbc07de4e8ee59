"""The command-line options of ``sniproxyctl explain``. Pure."""

from __future__ import annotations

import argparse
import re
from typing import Any

import attrs

from sniproxy.cli.subcommand import add_command
from sniproxy.config.schema import ConfigError
from sniproxy.pulsar.serviceurl import BadServiceURL, host_and_port
from sniproxy.util.names import ip_literal

_TOPIC = re.compile(r"(?:non-)?persistent://|(?:topic|segment)://", re.IGNORECASE)
_TLS_SCHEMES, _PLAIN_SCHEMES = ("pulsar+ssl", "https", "wss", "tls"), ("pulsar", "http", "ws")


def add_explain(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    explain = add_command(
        commands,
        "explain",
        "explain where a configuration routes a server name",
        "Shows which route a server name takes and why, the answer of the resolver, and the verdict of the "
        "policy on each address. With --connect, also dials each target and checks its certificate. Exit status: "
        "0: the name would be routed; 1: it would be refused, or there is a problem; 2: wrong usage or an invalid "
        "configuration.",
    )
    explain.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a server name, host:port or URL, or several hosts separated by commas; '' for no server name",
    )
    explain.add_argument("--all", action="store_true", help="check all routes instead of one name")
    explain.add_argument("--config", metavar="FILE", required=True, help="the configuration file (TOML)")
    explain.add_argument("--listener", metavar="L", help="only this listener (default: all)")
    explain.add_argument("--connect", action="store_true", help="dial the targets and check their certificates")
    explain.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="HOST",
        help="another name that certificates must cover, such as the host of the service URL; repeatable",
    )
    explain.add_argument("--json", action="store_true", help="print a JSON array with one object per listener or route")
    return explain


@attrs.frozen
class NameArgument:
    """The parsed NAME argument.

    @ivar hosts: empty for a ClientHello without a server name.
    @ivar plain: the scheme, if NAME is a URL without TLS; else None.
    """

    hosts: tuple[str, ...]
    plain: str | None = None


def parse_name(text: str) -> NameArgument:
    """Parse NAME: a host, ``host:port``, several of these, or a URL with or without a path.

    @raise ConfigError: the text is a topic, or has no valid host; the message has the cure.
    """
    if _TOPIC.match(text):
        raise ConfigError(
            "NAME is a topic, but routes match server names; sniproxyctl lookup finds the broker of a topic"
        )
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "", scheme
    elif scheme.lower() not in _TLS_SCHEMES + _PLAIN_SCHEMES:
        raise ConfigError("NAME has an unknown scheme; give a host, or a pulsar+ssl:// or https:// URL")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ConfigError("NAME contains a user or password; give only the host")
    hosts = dict.fromkeys(map(_host, authority.split(",")))
    return NameArgument(tuple(hosts), scheme.lower() if scheme.lower() in _PLAIN_SCHEMES else None)


def _host(text: str) -> str:
    if ip_literal(text) is not None:  # such as an IPv6 address without brackets
        return text
    try:
        return host_and_port(text.strip(), "NAME")[0]
    except BadServiceURL as error:
        raise ConfigError(str(error)) from error
