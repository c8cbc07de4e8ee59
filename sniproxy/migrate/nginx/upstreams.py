"""The C{upstream} blocks. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

import attrs

from sniproxy.config.schema import HealthTable
from sniproxy.migrate.listening import port_number, split_address
from sniproxy.migrate.model import Notes, Place
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.values import seconds
from sniproxy.routing.targets import MAX_WEIGHT
from sniproxy.util.names import BadName, host_port, ip_literal, server_name

_SILENT = ("zone", "keepalive", "state", "resolver", "resolver_timeout")


@attrs.frozen
class Upstream:
    """An upstream. @ivar targets: with weights. Empty: no server of it can be had here."""

    name: str
    targets: Sequence[str]
    balance: str | None
    place: Place


@attrs.define
class Upstreams:
    """All upstreams by their names in lower case.

    @ivar own: addresses of nginx itself, which may be unix sockets. @ivar health: of C{max_fails} and C{fail_timeout}.
        None: neither.
    """

    report: Notes
    own: Container[str] = ()
    by_name: dict[str, Upstream] = attrs.field(factory=dict)
    health: HealthTable | None = None

    def add(self, block: Directive) -> None:
        """Read an C{upstream} block."""
        balance, targets = None, []
        place = attrs.evolve(block.place, key=f"upstream {block.first}")
        for line in block.block or ():
            if line.name == "server":
                targets += self._server(line)
            elif line.name == "least_conn":
                balance = "least_connections"
            elif line.name in ("hash", "random"):
                self.report.left_out(line.place, "servers take turns here, by their weights")
            elif line.name not in _SILENT:
                self.report.left_out(line.place, "unknown directive in an upstream")
        if len(targets) > 1:
            targets = self._without_sockets(place, targets)
        if not targets:
            self.report.left_out(place, "no server of it can be had here; its names are refused", decides=True)
        if targets and all(target.endswith(" weight=0") for target in targets):
            targets = [target.removesuffix(" weight=0") for target in targets]
        self.by_name[block.first.lower()] = Upstream(block.first, targets, balance, place)

    def _without_sockets(self, place: Place, targets: Sequence[str]) -> list[str]:
        found = [target for target in targets if not target.startswith("unix:")]
        if len(found) < len(targets):
            self.report.left_out(place, "unix sockets are no targets here", decides=True)
        return found

    def find(self, text: str) -> Upstream | None:
        """The upstream of a text without variables."""
        return self.by_name.get(text.lower())

    def _server(self, line: Directive) -> list[str]:
        target = line.first if line.first in self.own else target_of(line.first)
        if target is None:
            why = "unix sockets are no targets here" if line.first.startswith("unix:") else "it has no host and port"
            self.report.left_out(line.place, f"{line.first}: {why}", decides=True)
            return []
        options = dict(option.partition("=")[::2] for option in line.arguments[1:])
        if "down" in options:
            self.report.taken(line.place, f"{target} is down, and left out")
            return []
        weight = options.get("weight", "1")
        if not (weight.isascii() and weight.isdigit() and len(weight) <= 5 and 1 <= int(weight) <= MAX_WEIGHT):
            self.report.left_out(line.place, f"weight={weight}: it is 1 here", decides=True)
            weight = "1"
        if "backup" in options:
            weight = "0"
        self._health(line, options)
        for option in ("max_conns", "slow_start", "service", "route"):
            if option in options:
                self.report.left_out(line.place, f"{option}: targets have no such limit here")
        return [target if weight == "1" else f"{target} weight={weight}"]

    def _health(self, line: Directive, options: dict[str, str]) -> None:
        if "max_fails" not in options and "fail_timeout" not in options:
            return
        fails, time = options.get("max_fails", "1"), seconds(options.get("fail_timeout", "10s"))
        if fails == "0" or not fails.isdigit() or len(fails) > 4 or not time:
            found = HealthTable()
        else:
            found = HealthTable(fall=int(fails), eject=time)
        if self.health is not None and self.health != found:
            self.report.different(line.place, "max_fails and fail_timeout are the same for all targets here")
            found = max(found, self.health, key=lambda one: one.eject)
        self.health = found


def target_of(text: str) -> str | None:
    """C{host:port} in our form. None: the text is none."""
    host, port = split_address(text)
    number = port_number(port)
    if number is None or text.startswith("unix:"):
        return None
    try:
        return host_port(ip_literal(host) or server_name(host), number)
    except BadName:
        return None
