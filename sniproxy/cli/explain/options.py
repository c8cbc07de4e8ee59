"""The command-line options of ``sniproxyctl explain``. Pure."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sniproxy.cli.subcommand import add_command
from sniproxy.config.schema import ConfigError, shown
from sniproxy.proxyprotocol.tlvs import TLV_NAMES
from sniproxy.pulsar.serviceurl import BadServiceURL, host_and_port
from sniproxy.util.names import host_port, ip_literal, plain_address

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
    explain.add_argument(
        "--client",
        metavar="ADDRESS",
        help="the client's IP address, for only_from, target_source and resolvers",
    )
    explain.add_argument(
        "--proxy-tlv",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an optional field (TLV) of the client's PROXY protocol header, named as in the access log, such as "
        "aws_vpce_id=vpce-0123; repeatable",
    )
    explain.add_argument(
        "--proxy-port",
        metavar="PORT",
        help="the destination port in the client's PROXY protocol header, for {proxy_protocol_port} (default: the "
        "listener's port)",
    )
    explain.add_argument("--json", action="store_true", help="print a JSON array with one object per listener or route")
    return explain


def parse_client(text: str) -> str:
    """Parse ``--client``: an IP address, with or without a port. @return: ``address:port``; the port may be 0.

    @raise ConfigError: it is no address.
    """
    host, port = text.strip(), "0"
    if ip_literal(host) is None and (found := _WITH_PORT.fullmatch(host)):
        host, port = found.group("host"), found.group("port")
    try:
        return host_port(str(plain_address(host)), int(port))
    except ValueError:
        raise ConfigError(f"--client {shown(text)}: give an IP address, such as 192.0.2.7") from None


_WITH_PORT = re.compile(r"(?P<host>[0-9.]+|\[[^\]]+\]):(?P<port>[0-9]{1,5})")


def parse_port(text: str) -> int:
    """Parse ``--proxy-port``. @raise ConfigError: it is no port."""
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ConfigError(f"--proxy-port {shown(text)}: give a port from 1 to 65535")
    return int(text)


_PORT = re.compile(r"[0-9]{1,5}")


def parse_tlvs(texts: Sequence[str]) -> Mapping[str, str]:
    """Parse the values of ``--proxy-tlv``. @raise ConfigError: one has no known name, or no value."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--proxy-tlv {shown(text)}: write NAME=VALUE")
        if name not in TLV_NAMES and not _TYPE.fullmatch(name):
            known = ", ".join(sorted(TLV_NAMES))
            raise ConfigError(f"--proxy-tlv {shown(text)}: unknown name; the names are {known}, and types such as 0xe5")
        found[name] = value
    return found


_TYPE = re.compile(r"0x[0-9a-f]{2}")


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
