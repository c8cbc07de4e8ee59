"""From a sniproxy.conf to listeners and rules. Pure.

The original tries the patterns of a listener's table in order, and searches each in the name as the client sent it. A
target without a port has the port of the listener.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.dnstables import DnsTables
from sniproxy.migrate.formed import formed_policy
from sniproxy.migrate.listening import Address, port_number, split_address
from sniproxy.migrate.model import ANY, NAMELESS, Imported, Notes, Place, Rule, SourceFile
from sniproxy.migrate.pcre import BadExpression, searched
from sniproxy.migrate.sniproxyconf.statements import Statement, statements
from sniproxy.util.names import host_port, ip_literal
from sniproxy.util.text import counted

_TOP = ("username", "groupname", "pidfile", "resolver", "error_log", "access_log", "listener", "table")
_LISTENER = (
    *("protocol", "reuseport", "ipv6_v6only", "table", "fallback", "source", "access_log", "bad_requests"),
    "fallback_use_proxy_header",
)
_UNNAMED = ""
_PORT = "{port}"
_TLS_PORT = 443
_FAMILIES = {"ipv4_only": ("ipv6",), "ipv6_only": ("ipv4",)}


def read(files: Sequence[SourceFile]) -> Imported:
    """Read a configuration; several files are read as one.

    @raise MigrateError: braces or quotes do not match.
    """
    reader = _Reader()
    for file in files:
        reader.collect(file.name, statements(file))
    return reader.imported()


def _keyword(word: str, known: Sequence[str]) -> str:
    """The keyword that a word stands for, which may be shortened; empty: none."""
    return next((name for name in known if name == word), "") or next(
        (name for name in known if word and name.startswith(word)), ""
    )


@attrs.frozen
class _Target:
    text: str
    """C{host:port}; C{port} may be C{{port}}."""
    looked_up: bool = False
    """The host is a name."""
    port: int | None = None
    """None: that of the listener."""
    client_formed: bool = False


class _Reader:
    def __init__(self) -> None:
        self._report = Notes()
        self._found = Imported(report=self._report)
        self._listeners: list[tuple[Place, Statement]] = []
        self._tables: dict[str, tuple[str, Statement]] = {}
        self._servers: list[str] = []
        self._families: Sequence[str] = ()
        self._dns = DnsTables()
        self._ports: set[int] = set()

    def collect(self, file: str, lines: Sequence[Statement]) -> None:
        """Note the statements of a file. Tables may come after the listeners that use them."""
        for line in lines:
            keyword = _keyword(line.words[0], _TOP)
            place = Place(file, line.line, line.words[0])
            value = line.arguments[0] if line.arguments else ""
            if keyword == "listener":
                self._listeners.append((place, line))
            elif keyword == "table":
                if value in self._tables:
                    self._report.different(
                        place, f"the table {value or 'without a name'} is defined again: this one counts"
                    )
                self._tables[value] = (file, line)
            elif keyword == "resolver":
                self._resolver(place, line)
            elif keyword == "access_log":
                self._access_log(file, line)
            elif keyword in ("username", "groupname", "pidfile"):
                option = "--pidfile" if keyword == "pidfile" else "--uid" if keyword == "username" else "--gid"
                self._report.left_out(place, f"an option of the program: twistd {option} {value}".rstrip())
            elif keyword == "error_log":
                self._report.left_out(place, "an option of the program: twistd -l FILE, or --syslog")
            else:
                self._report.left_out(place, "unknown keyword", decides=True)

    def _resolver(self, place: Place, line: Statement) -> None:
        for one in line.block or ():
            keyword = _keyword(one.words[0], ("nameserver", "search", "mode"))
            where = attrs.evolve(place, line=one.line, key=one.words[0])
            if keyword == "nameserver":
                self._servers += [_server(word) for word in one.arguments]
            elif keyword == "mode" and one.arguments:
                self._families = _FAMILIES.get(one.arguments[0], ())
                if one.arguments[0] in ("ipv4_first", "ipv6_first"):
                    self._report.different(where, "addresses of both families are tried, 0.25 s apart")
            else:
                self._report.left_out(where, "names of name servers are absolute here")
        if not self._servers:
            self._report.taken(place, "names are looked up with the system's name servers")

    def _access_log(self, file: str, line: Statement) -> None:
        for one in line.block or ():
            place = Place(file, one.line, one.words[0])
            if _keyword(one.words[0], ("filename", "syslog", "priority")) == "filename" and one.arguments:
                if self._found.access_log is None:
                    self._found.access_log = one.arguments[0]
                    self._report.different(place, "the access log has a JSON object for each connection")
                elif self._found.access_log != one.arguments[0]:
                    self._report.left_out(place, f"there is one access log for all listeners: {self._found.access_log}")
            elif one.words[0] not in ("priority",):
                self._report.left_out(place, "the access log is a file; collect it with the system's logger")

    def imported(self) -> Imported:
        """The result, once all files are collected."""
        several = len(self._listeners) > 1
        used = set()
        for place, line in self._listeners:
            table = self._listener(place, line, several)
            if table is not None:
                used.add(table)
        for name, (file, line) in self._tables.items():
            if name not in used:
                self._report.different(Place(file, line.line, "table"), "no listener here uses this table")
        if self._listeners:
            self._report.different(
                self._listeners[0][0],
                "the original compares names as clients send them; here case and a trailing dot do not matter, and an "
                "IP address sent as a name matches only a route for exactly this address",
            )
        if self._ports:
            self._found.policy = formed_policy(self._ports, self._listeners[0][0], self._report)
        self._found.resolvers = self._dns.tables
        # A table that several listeners use is read several times.
        self._report.notes[:] = dict.fromkeys(self._report.notes)
        return self._found

    def _listener(self, place: Place, line: Statement, several: bool) -> str | None:
        """Add a listener and its rules. @return: the name of its table; None: it is left out."""
        options = {_keyword(one.words[0], _LISTENER): one for one in line.block or ()}
        protocol = _first(options.get("protocol"), "tls")
        if protocol != "tls":
            self._report.left_out(place, f"protocol {protocol}: only TLS has server names here", decides=True)
            return None
        for one in line.block or ():
            self._option(attrs.evolve(place, line=one.line, key=one.words[0]), one)
        address = self._address(place, line, options.get("ipv6_v6only"))
        if address is None:
            return None
        table = _first(options.get("table"), _UNNAMED)
        name = f"{table or 'default'}-{len(self._found.listeners) + 1}" if several else None
        self._found.listeners.append((place, ListenerTable(endpoint=address.endpoint, name=name)))
        self._report.taken(place, f"listener {address.endpoint}, table {table or '(without a name)'}")
        source = "client" if _first(options.get("source"), "") == "client" else None
        before = len(self._found.rules)
        if table in self._tables:
            self._rules(*self._tables[table], address, bool(_first(options.get("fallback"), "")))
        else:
            self._report.left_out(place, f"the table {table or 'without a name'} is not there", decides=True)
        self._fallback(attrs.evolve(place, key="fallback"), options, address)
        self._found.rules[before:] = [
            attrs.evolve(rule, listener=name, target_source=source if rule.targets or rule.resolver else None)
            for rule in self._found.rules[before:]
        ]
        return table

    def _option(self, place: Place, line: Statement) -> None:
        keyword = _keyword(line.words[0], _LISTENER)
        if keyword == "reuseport":
            self._report.left_out(place, "write reuse_port = true or workers at the top of the file")
        elif keyword == "source" and line.arguments != ["client"]:
            self._report.left_out(place, "the system chooses the proxy's own address")
        elif keyword == "access_log":
            self._access_log(place.file, line)
        elif keyword == "bad_requests":
            self._report.taken(place, "the access log has each refused connection, without its bytes")
        elif not keyword:
            self._report.left_out(place, "unknown keyword", decides=True)

    def _address(self, place: Place, line: Statement, only_v6: Statement | None) -> Address | None:
        text = line.arguments[0] if line.arguments else ""
        if text.startswith("unix:"):
            return Address("unix", path=text.removeprefix("unix:"))
        host, port = split_address(text)
        number = port_number(port) if port else _TLS_PORT
        # A port alone means both families, as [::] does.
        literal = ip_literal(host) if host else "::"
        if number is None or literal is None or not text:
            self._report.left_out(place, f"{text or '(nothing)'} is no address to listen on", decides=True)
            return None
        if literal == "::" and _first(only_v6, "no") in ("yes", "on", "true"):
            self._report.different(place, f"port {number} takes IPv4 connections, too, as Linux does by default")
        return Address(literal, number)

    def _rules(self, file: str, table: Statement, address: Address, has_fallback: bool) -> None:
        inside = 0
        for line in table.block or ():
            place = Place(file, line.line, line.words[0])
            if not line.arguments:
                self._report.left_out(place, "a pattern without a target", decides=True)
                continue
            try:
                found = searched(line.words[0], captures=False)
            except BadExpression as error:
                self._report.left_out(place, str(error), decides=True)
                continue
            pattern = found.pattern
            if not pattern:
                self._report.different(place, "it matches only names in upper case, which clients do not send")
                continue
            if pattern in ("~.*", "~.+"):
                pattern = ANY
            inside += pattern.startswith("~.*") and pattern.endswith(".*")
            self._found.rules += self._rule(place, pattern, line.arguments, address)
            if has_fallback and re.fullmatch(found.expression, ""):
                # Where there is a fallback, a hello without a name is looked up as an empty name.
                self._found.rules += self._rule(place, NAMELESS, line.arguments, address)
        if inside:
            self._report.taken(
                Place(file, table.line, "table"),
                f"{counted(inside, 'pattern')} without ^ and $: found anywhere in a name, as in the original; where "
                "one name is meant, write it as server_name: it is found faster",
            )

    def _rule(self, place: Place, pattern: str, arguments: Sequence[str], address: Address) -> Iterator[Rule]:
        target = _target(arguments[0])
        if target is None:
            why = "unix sockets are no targets here" if arguments[0].startswith("unix:") else "it is no target here"
            self._report.left_out(place, f"{arguments[0]}: {why}; the names are refused", decides=True)
            yield Rule(pattern, place)
            return
        send_proxy = "v1" if "proxy_protocol" in arguments[1:] else None
        for word in arguments[1:]:
            if word != "proxy_protocol":
                self._report.left_out(place, f"unknown argument {word}", decides=True)
        if target.port is None and address.host == "unix":
            self._report.different(place, f"{arguments[0]}: no port, and a unix socket has none: refused, as before")
            yield Rule(pattern, place)
            return
        if target.client_formed and pattern == NAMELESS:
            yield Rule(pattern, place)
            return
        if target.client_formed:
            self._ports.add(target.port or address.port)
        if target.looked_up and self._servers:
            resolver = self._dns.name(target.text, self._servers, self._families)
            yield Rule(pattern, place, resolver=resolver, send_proxy=send_proxy)
        else:
            yield Rule(pattern, place, [target.text], send_proxy=send_proxy)

    def _fallback(self, place: Place, options: dict[str, Statement], address: Address) -> None:
        line = options.get("fallback")
        if line is None or not line.arguments:
            return
        place = attrs.evolve(place, line=line.line)
        header = line.arguments[1:] + (["proxy_protocol"] if _yes(options.get("fallback_use_proxy_header")) else [])
        self._found.rules += self._rule(place, ANY, [line.arguments[0], *header], address)
        self._found.rules += self._rule(place, NAMELESS, [line.arguments[0], *header], address)
        self._report.different(
            place, "names without a pattern and hellos without a name go there; other bytes are refused"
        )


def _target(text: str) -> _Target | None:
    """A target; None: it is none here."""
    if text.startswith("unix:"):
        return None
    host, port = split_address(text)
    number = port_number(port) if port else None
    if not host or (port and number is None):
        return None
    shown = str(number) if number is not None else _PORT
    if host == "*":
        return _Target(f"{{server_name}}:{shown}", True, number, client_formed=True)
    literal = ip_literal(host)
    return _Target(f"{host_port(literal or host, 0)[:-1]}{shown}", literal is None, number)


def _server(text: str) -> str:
    """A name server's address, which brackets may enclose."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _first(line: Statement | None, default: str) -> str:
    return line.arguments[0] if line is not None and line.arguments else default


def _yes(line: Statement | None) -> bool:
    return line is not None and _first(line, "no") in ("yes", "on", "true")
