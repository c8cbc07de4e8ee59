"""The listeners of a configuration and their rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from msgspec.structs import replace

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.haproxy.acls import Scene
from sniproxy.migrate.haproxy.binds import EVERYBODY, Bound, is_local, read_binds
from sniproxy.migrate.haproxy.clients import ALL, Clients
from sniproxy.migrate.haproxy.conditions import Conditions, named_acls, split_condition
from sniproxy.migrate.haproxy.decisions import make_rules
from sniproxy.migrate.haproxy.entries import Entry, Proxies, stored_variables
from sniproxy.migrate.haproxy.lists import Files
from sniproxy.migrate.haproxy.samples import BadSample, Sample, parse_sample, with_variables
from sniproxy.migrate.haproxy.sections import Section
from sniproxy.migrate.haproxy.servers import HEADER_PORT, Server
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, Rule

_RULES = ("acl", "use_backend", "tcp-request", "use-server")
_NO_TRUST = "upstream-ca.pem"


@attrs.frozen
class Listening:
    """A listener, and the rules for it. @ivar rules: empty for a plaintext listener."""

    place: Place
    table: ListenerTable
    rules: Sequence[Rule] = ()


@attrs.frozen
class Frontends:
    """Reads frontends. @ivar sections: all. @ivar servers: of all backends, for the trust of listeners that end TLS."""

    backends: Mapping[str, Section]
    files: Files
    servers: Sequence[Server]
    report: Notes

    def read(self, section: Section) -> list[Listening]:
        """The listeners of a frontend or listen section."""
        scene = Scene(self.files, self.report, variables=self._variables(section))
        found = []
        for bound in read_binds(section, self._believed(section, scene), self.report):
            seen = attrs.evolve(scene, port=bound.port, terminates=bound.terminates, sensitive=[])
            reads_headers = bound.table.proxy_protocol == "required"
            if reads_headers:
                # To HAProxy, the destination in the header is that of the connection.
                seen = attrs.evolve(seen, port=None, own_port=HEADER_PORT)
            proxies = Proxies(self.backends, seen)
            if reads_headers:
                bound = self._believing(bound, proxies.peers(section))
            found.append(self._listening(section, bound, proxies.frontend(section, reads_headers)))
            self._report_case(section, seen)
        if not found:
            self.report.left_out(section.place, "no listener: it has no bind that can be read", decides=True)
        return found

    def _listening(self, section: Section, bound: Bound, entries: Sequence[Entry]) -> Listening:
        table = self._trusting(bound)
        rules = make_rules(entries, self.report)
        plain = None if bound.terminates or _reads_names(section) else self._plaintext(rules, table, section)
        if plain is not None:
            return Listening(bound.place, plain)
        waits = section.has("tcp-request", "inspect-delay") and section.has("tcp-request", "content")
        if not waits and not bound.terminates:
            text = "without inspect-delay and a tcp-request content rule HAProxy may decide before the hello is there"
            self.report.different(section.place, f"{text}; this proxy waits for it")
        self.report.taken(bound.place, f"listener {table.endpoint}, rules: {len(rules)}")
        return Listening(bound.place, table, rules)

    def _plaintext(self, rules: Sequence[Rule], table: ListenerTable, section: Section) -> ListenerTable | None:
        """The listener that relays all bytes, as HAProxy does where no rule reads the hello. None: there is none."""
        if [rule.pattern for rule in rules] != [ANY, NAMELESS] or not rules[0].same_destination(rules[1]):
            return None
        action = rules[0]
        text = "no rule reads the server name: all bytes are relayed, as HAProxy does; write routes instead for TLS"
        self.report.different(section.place, text)
        for key in ("balance", "max_connections"):
            if getattr(action, key) is not None:
                self.report.left_out(section.place, f"{key} = {getattr(action, key)}: not for a plaintext listener")
        return replace(
            table,
            plaintext=True,
            target=list(action.targets) if len(action.targets) > 1 else action.targets[0],
            only_from=None if action.only_from is None else list(action.only_from),
            send_proxy=action.send_proxy,
            proxy_tlvs=None if action.proxy_tlvs is None else list(action.proxy_tlvs),
            target_source=action.target_source,
        )

    def _trusting(self, bound: Bound) -> ListenerTable:
        """The listener with what it needs to speak TLS to targets."""
        if not bound.terminates:
            return bound.table
        options = [server.options for server in self.servers if server.has("ssl")]
        trust = next((one["ca-file"] for one in options if one.get("ca-file")), None)
        if trust is None or trust.startswith("@"):
            text = f"write the authorities that sign the targets' certificates into {_NO_TRUST}"
            self.report.different(bound.place, f"targets' certificates are always verified; {text}")
            trust = _NO_TRUST
        certificate = next((one["crt"] for one in options if one.get("crt")), None)
        return replace(bound.table, upstream_trust=trust, upstream_certificate=certificate)

    def _believing(self, bound: Bound, peers: Clients) -> Bound:
        """The listener with the peers whose headers are believed: those that C{tcp-request connection} lets in."""
        if peers != ALL:
            return attrs.evolve(bound, table=replace(bound.table, proxy_protocol_from=list(peers.networks())))
        if not is_local(bound.table.endpoint):
            text = "HAProxy believes headers of all peers; write the load balancers into proxy_protocol_from"
            self.report.different(bound.place, f"accept-proxy: {text}")
            bound = attrs.evolve(bound, table=replace(bound.table, proxy_protocol_from=EVERYBODY))
        return bound

    def _believed(self, section: Section, scene: Scene) -> tuple[str, ...]:
        """The networks whose PROXY protocol headers are read, by C{expect-proxy}."""
        conditions = Conditions(scene, named_acls(section))
        found = Clients()
        for line in section.find("tcp-request", "connection", "expect-proxy"):
            _, words = split_condition(line.words[3:])
            for case in conditions.of(words, line.place):
                if case.unknown or case.names:
                    self.report.left_out(line.place, "expect-proxy: only conditions on src are understood")
                else:
                    text = "expect-proxy: connections of these peers without a header are taken here, too"
                    self.report.different(line.place, text)
                    found |= case.clients
        return found.networks()

    def _variables(self, section: Section) -> dict[str, Sample]:
        found: dict[str, Sample] = {}
        for name, line in stored_variables(section).items():
            try:
                found[name] = with_variables(parse_sample(line.words[3]), found)
            except BadSample as error:
                self.report.left_out(line.place, f"set-var: {error}")
        return found

    def _report_case(self, section: Section, scene: Scene) -> None:
        lines = len(dict.fromkeys((place.file, place.line) for place in scene.sensitive))
        if lines:
            text = "names match in any case here; HAProxy compares them with case where -i and lower are missing"
            self.report.different(scene.sensitive[0], f"{section.name}: {text} (lines: {lines})")


def _reads_names(section: Section) -> bool:
    """Whether a rule reads the hello."""
    lines = [line for line in section.lines if line.key in _RULES]
    return any("ssl" in word or word == "inspect-delay" for line in lines for word in line.words)


def named(found: Sequence[tuple[Section, Listening]]) -> list[tuple[Place, ListenerTable]]:
    """The listeners, each with a name of its own, unless there is only one."""
    used: set[str] = set()
    tables: list[tuple[Place, ListenerTable]] = []
    for section, one in found:
        name = one.table.name
        if name is None and len(found) > 1:
            alone = sum(other is section for other, _ in found) == 1
            name = section.name if alone and section.name else f"{section.name or section.kind}-{len(tables) + 1}"
        while name in used:
            name = f"{name}-{len(tables) + 1}"
        used |= set() if name is None else {name}
        tables.append((one.place, one.table if name is None else replace(one.table, name=name)))
    return tables
