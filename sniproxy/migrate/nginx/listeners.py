"""One listener for each address of nginx, and its rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.listening import Address
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, Rule
from sniproxy.migrate.nginx.cases import MAX_CASES, PORT, Case, TooManyCases, always, constant, first, pairs
from sniproxy.migrate.nginx.chains import MAX_LENGTH, Link
from sniproxy.migrate.nginx.destinations import Destination, Destinations, without_repeats
from sniproxy.migrate.nginx.maps import Map, add_entry
from sniproxy.migrate.nginx.servers import Server
from sniproxy.migrate.nginx.values import Listen
from sniproxy.migrate.nginx.variables import Scope, UnknownVariable, Variables
from sniproxy.migrate.pcre import BadExpression
from sniproxy.util.text import counted

_NOBODY = ["0.0.0.0/32"]
"""No client has this address; our configuration refuses an empty list."""

_EVERYBODY = ["0.0.0.0/0", "::/0"]


@attrs.define
class Group:
    """The servers of one address. @ivar servers: the default one first."""

    address: Address
    servers: list[Server]
    listen: Listen

    @property
    def place(self) -> Place:
        """Of the listen directive."""
        return self.listen.directive.place


def groups_of(servers: Sequence[Server], report: Notes) -> list[Group]:
    """The servers by address. Addresses that this proxy cannot listen on at the same time are joined."""
    found: dict[Address, Group] = {}
    for server in servers:
        for listen in server.listens:
            group = found.setdefault(listen.address, Group(listen.address, [], listen))
            if server in group.servers:
                continue
            if listen.is_default:
                group.servers.insert(0, server)
            else:
                group.servers.append(server)
    for group in list(found.values()):
        _join(group, found, report)
    return list(found.values())


def _join(group: Group, found: dict[Address, Group], report: Notes) -> None:
    """Remove a group whose port a wider one has: all addresses of the family, or of both."""
    address = group.address
    wider = [Address("::", address.port)] + ([Address("0.0.0.0", address.port)] if ":" not in address.host else [])
    for one in wider:
        other = found.get(one)
        if address.host == "unix" or other is None or one == address:
            continue
        same = [id(server) for server in other.servers] == [id(server) for server in group.servers]
        if same:
            report.taken(group.place, f"{other.address.endpoint} takes these connections, too")
        else:
            why = f"{other.address.endpoint} has this port; no two listeners can share one"
            report.left_out(group.place, why, decides=True)
        del found[address]
        return


@attrs.define
class Listeners:
    """Makes listeners and rules. @ivar tables, rules: those so far."""

    variables: Variables
    destinations: Destinations
    report: Notes
    links: Mapping[str, Link] = attrs.field(factory=dict)
    tables: list[tuple[Place, ListenerTable]] = attrs.field(factory=list)
    rules: list[Rule] = attrs.field(factory=list)
    _said: set[str] = attrs.field(factory=set)

    def add(self, group: Group, several: bool) -> None:
        """Add the listener of an address. @param several: it needs a name."""
        server = group.servers[0]
        if server.ends_tls and not self._can_end_tls(server, group.place):
            return
        name = self._name(group.address) if several else None
        table = ListenerTable(endpoint=group.address.endpoint, name=name, **self._header(group, server))
        if server.reads_names or server.ends_tls:
            if server.ends_tls:
                table = self._ending_tls(table, server)
            self.tables.append((group.place, table))
            self._add_rules(group, name)
        else:
            self._add_plaintext(group, table)

    def _name(self, address: Address) -> str:
        name = f"port-{address.port}" if address.port else address.path.rpartition("/")[2] or "unix"
        used = {table.name for _, table in self.tables}
        return name if name not in used else f"{name}-{len(used) + 1}"

    def _header(self, group: Group, server: Server) -> dict[str, Any]:
        """The keys of a listener that reads the PROXY protocol."""
        if not any("proxy_protocol" in listen.options for listen in server.listens if listen.address == group.address):
            return {}
        trusted = [one.first for one in server.all("set_real_ip_from") if one.first != "unix:"]
        if group.address.host == "unix" and not trusted:
            return {"proxy_protocol": "required"}
        if not trusted:
            trusted = server.clients(self.report) or _EVERYBODY
            self.report.different(
                group.place,
                "without set_real_ip_from nginx ignores the address in the header; here it is the client's: "
                "list your balancers in proxy_protocol_from",
            )
        return {"proxy_protocol": "required", "proxy_protocol_from": trusted}

    def _can_end_tls(self, server: Server, place: Place) -> bool:
        trust = server.get("proxy_ssl_trusted_certificate")
        pair = (server.get("ssl_certificate"), server.get("ssl_certificate_key"))
        if not server.is_on("proxy_ssl") or trust is None or None in pair:
            self.report.left_out(
                place,
                "ssl: a listener that terminates TLS opens TLS to its targets, too; it needs proxy_ssl on, "
                "proxy_ssl_trusted_certificate and a certificate with its key",
                decides=True,
            )
            return False
        return True

    def _ending_tls(self, table: ListenerTable, server: Server) -> ListenerTable:
        certificate, key, trust = (
            found.first if (found := server.get(name)) is not None else ""
            for name in ("ssl_certificate", "ssl_certificate_key", "proxy_ssl_trusted_certificate")
        )
        folders = {certificate.rpartition("/")[0], key.rpartition("/")[0]}
        source = certificate if certificate == key else folders.pop() if len(folders) == 1 else certificate
        found = server.get("ssl_certificate")
        assert found is not None
        self.report.different(
            found.place,
            f"certificates = {source}: a PEM file with certificate and key, or a folder of such files; the target's "
            "certificate is verified for the client's server name",
        )
        return ListenerTable(
            endpoint=table.endpoint,
            name=table.name,
            certificates=source or ".",
            upstream_trust=trust,
            proxy_protocol=table.proxy_protocol,
            proxy_protocol_from=table.proxy_protocol_from,
        )

    def _keys(self, server: Server, header: bool) -> dict[str, Any]:
        """The keys of a rule, or of a plaintext listener, that do not depend on the name."""
        keys: dict[str, Any] = {}
        send_proxy = server.send_proxy()
        if send_proxy is not None:
            keys["send_proxy"] = send_proxy
        # The header's address is not believed by nginx then, so its list is of the peers.
        if not header or server.all("set_real_ip_from"):
            clients = server.clients(self.report)
            if clients is not None:
                keys["only_from"] = clients or _NOBODY
        bind = server.get("proxy_bind")
        if bind is not None and "transparent" in bind.arguments and bind.first.startswith("$remote_addr"):
            keys["target_source"] = "client"
        elif bind is not None and bind.first != "off":
            self.report.left_out(bind.place, "the system chooses the proxy's own address")
        return keys

    def _cases(self, server: Server, scope: Scope) -> list[Case] | None:
        """What C{proxy_pass} is for each name. None: that cannot be said, which is reported."""
        passed = server.get("proxy_pass")
        if passed is None or not passed.first:
            self.report.left_out(
                server.directive.place, "a server without proxy_pass; its names are refused", decides=True
            )
            return None
        if server.is_on("proxy_ssl") and not server.ends_tls:
            self.report.left_out(
                passed.place, "proxy_ssl: TLS within the client's TLS; its names are refused", decides=True
            )
            return None
        self.variables.set_texts({one.first[1:]: (one.arguments[1], one.place) for one in server.set_variables()})
        try:
            return self.variables.cases(passed.first, passed.place, scope)
        except (UnknownVariable, BadExpression) as error:
            depends = "depends on " if isinstance(error, UnknownVariable) else ""
            self.report.left_out(passed.place, f"{passed.first} {depends}{error}; its names are refused", decides=True)
        except TooManyCases:
            self.report.left_out(passed.place, f"{passed.first}: too many combinations of maps", decides=True)
        return None

    def _destination(self, case: Case, server: Server, port: int) -> Destination:
        passed = server.get("proxy_pass")
        variables = passed is not None and "$" in passed.first
        return self.destinations.find(case, port, server.get("resolver"), variables)

    def _add_plaintext(self, group: Group, table: ListenerTable) -> None:
        server = group.servers[0]
        cases = self._cases(server, Scope(group.address.host, group.address.port, name=False))
        found = Destination() if cases is None else self._destination(first(cases, None), server, group.address.port)
        if not found.targets and found.resolver is None:
            self.report.left_out(group.place, "this listener has no target", decides=True)
            return
        keys = self._keys(server, table.proxy_protocol is not None)
        made = ListenerTable(
            endpoint=table.endpoint,
            name=table.name,
            plaintext=True,
            target=list(found.targets) or None,
            resolver=found.resolver,
            proxy_protocol=table.proxy_protocol,
            proxy_protocol_from=table.proxy_protocol_from,
            **keys,
        )
        self.tables.append((group.place, made))
        self.report.different(
            group.place, "without ssl_preread nginx reads no name: a plaintext listener sends all bytes to one target"
        )

    def _add_rules(self, group: Group, name: str | None) -> None:
        address = group.address
        made: list[Rule] = []
        for cases, server in self._by_server(group):
            scope = Scope(address.host, address.port, ends_tls=server.ends_tls)
            own = self._cases(server, scope)
            keys = self._keys(server, any("proxy_protocol" in listen.options for listen in server.listens))
            named = own if cases is None or own is None else [
                Case(pattern, b.value, b.place) for pattern, _, b in pairs(cases, own)
            ]  # fmt: skip
            if named is None:
                named = cases or []
            for case in without_repeats(list(self.destinations.by_name(named)), {rule.pattern for rule in made}):
                for one, last, port in self._followed(case, server, address.port):
                    found = self._destination(one, last, port)
                    rule = Rule(
                        one.pattern, one.place, found.targets, name, balance=found.balance, resolver=found.resolver
                    )
                    if found.targets or found.resolver:
                        rule = attrs.evolve(rule, **(keys if last is server else self._keys_behind(keys, last)))
                    made.append(rule)
                    if len(made) > MAX_CASES:
                        break
                if len(made) > MAX_CASES:
                    why = f"more than {MAX_CASES} rules; the rest is left out"
                    self.report.left_out(group.place, why, decides=True)
                    break
        needed = _needed(made)
        self.rules += needed
        self.report.taken(group.place, f"listener {address.endpoint}, {counted(len(needed), 'rule')}")

    def _keys_behind(self, keys: dict[str, Any], last: Server) -> dict[str, Any]:
        """The keys of a rule whose connections pass several servers: the last one dials, the first has the clients."""
        behind = self._keys(last, header=True)
        return {**behind, "only_from": keys.get("only_from")}

    def _followed(self, case: Case, server: Server, port: int, length: int = 1) -> Iterator[tuple[Case, Server, int]]:
        """The cases at the last server that a connection passes, with it and its port."""
        text = constant(case.value, port) or ""
        upstream = self.destinations.upstreams.find(text)
        if upstream is not None and len(upstream.targets) == 1:
            text = upstream.targets[0]
        link = self.links.get(text)
        if link is None or length > MAX_LENGTH:
            yield case, server, port
            return
        inner = link.server
        cases = self._cases(inner, Scope(link.address.host, link.address.port, name=inner.reads_names))
        if cases is None:
            yield attrs.evolve(case, value=()), inner, link.address.port
            return
        if text not in self._said:
            self._said.add(text)
            self.report.taken(case.place, f"{text} is a server of this file: names go on to its targets directly")
        if not inner.reads_names:
            cases = always(first(cases, None).value, case.place)
        for pattern, _, b in pairs([case], list(self.destinations.by_name(cases))):
            value = tuple(str(link.address.port) if part == PORT else part for part in b.value)
            yield from self._followed(Case(pattern, value, b.place), inner, link.address.port, length + 1)

    def _by_server(self, group: Group) -> list[tuple[list[Case] | None, Server]]:
        """The servers of an address with the names that each is for, most specific first. None: all other names."""
        default, *others = group.servers
        names = Map("server_name", "", group.place, hostnames=True)
        for number, server in enumerate(others):
            for text in server.names or [""]:
                place = server.directive.place
                try:
                    add_entry(names, text, str(number), place, ignore_case=True)
                except BadExpression as error:
                    self.report.left_out(place, f"server_name {text}: {error}", decides=True)
        found: list[tuple[list[Case] | None, Server]] = []
        for pattern, entry in names.patterns():
            if entry is not None and pattern != ANY:
                found.append(([Case(pattern, (), entry.place)], others[int(entry.value)]))
        return [*found, (None, default)]


def _needed(rules: Sequence[Rule]) -> list[Rule]:
    """The rules without refusals that no later rule makes necessary."""
    found: list[Rule] = []
    leads = False
    for rule in reversed(rules):
        led = bool(rule.targets or rule.resolver)
        if led or (leads and rule.pattern not in (ANY, NAMELESS)):
            found.append(rule)
        leads = leads or (led and rule.pattern != NAMELESS)
    return found[::-1]
