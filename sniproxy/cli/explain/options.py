"""The options of ``sniproxyctl explain``. Pure."""

from __future__ import annotations

import argparse
import re
from typing import Any

import attrs

from sniproxy.config.schema import ConfigError
from sniproxy.pulsar.serviceurl import BadServiceURL, host_and_port
from sniproxy.util.names import ip_literal

_TOPIC = re.compile(r"(?:non-)?persistent://|(?:topic|segment)://", re.IGNORECASE)
_TLS_SCHEMES, _PLAIN_SCHEMES = ("pulsar+ssl", "https", "wss", "tls"), ("pulsar", "http", "ws")


def add_explain(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's commands. @return: its own parser."""
    explain: argparse.ArgumentParser = commands.add_parser(
        "explain",
        allow_abbrev=False,
        help="what a configuration does with a server name, and why",
        description="Says which route a server name takes and why not another one, what the resolver answers, and what "
        "the policy says of each address; with --connect, how each target answers and what its certificate covers. "
        "Exit status: 0: it would be routed; 1: it would be refused, or something else is wrong; 2: wrong usage, or a "
        "configuration that cannot be used.",
    )
    explain.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a server name, host:port or a URL, or several hosts with commas; '': a hello without a name",
    )
    explain.add_argument("--all", action="store_true", help="all routes instead of one name")
    explain.add_argument("--config", metavar="FILE", required=True, help="the configuration file (TOML)")
    explain.add_argument("--listener", metavar="L", help="only this listener; without it, all")
    explain.add_argument("--connect", action="store_true", help="dial the targets, and look at their certificates")
    explain.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="HOST",
        help="a name that certificates must cover, too, as that of the service URL or the proxy's URL. Repeats",
    )
    explain.add_argument("--json", action="store_true", help="a JSON array with an object for each listener or route")
    return explain


@attrs.frozen
class NameArgument:
    """What NAME says.

    @ivar hosts: empty: none, for a hello without a server name.
    @ivar plain: the scheme of a URL without TLS. None: it is no such URL.
    """

    hosts: tuple[str, ...]
    plain: str | None = None


def parse_name(text: str) -> NameArgument:
    """The hosts of what a user pastes: a name, ``host:port``, several of them, or a URL with or without a path.

    @raise ConfigError: the text is a topic, or no host can be read in it; the message has the cure.
    """
    if _TOPIC.match(text):
        raise ConfigError("NAME is a topic, and routes go by server names; sniproxyctl lookup finds a topic's broker")
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "", scheme
    elif scheme.lower() not in _TLS_SCHEMES + _PLAIN_SCHEMES:
        raise ConfigError("NAME has an unknown scheme; give a host, or a pulsar+ssl:// or https:// URL")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ConfigError("NAME holds a user or a password; give the host alone")
    hosts = dict.fromkeys(map(_host, authority.split(",")))
    return NameArgument(tuple(hosts), scheme.lower() if scheme.lower() in _PLAIN_SCHEMES else None)


def _host(text: str) -> str:
    if ip_literal(text) is not None:  # of IPv6, without brackets
        return text
    try:
        return host_and_port(text.strip(), "NAME")[0]
    except BadServiceURL as error:
        raise ConfigError(str(error)) from error
