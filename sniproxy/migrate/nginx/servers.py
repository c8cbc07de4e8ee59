"""The C{server} blocks of the stream context. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.migrate.model import Notes
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.values import Listen, allowed, read_listen

_TAKEN = (
    "listen", "proxy_pass", "ssl_preread", "proxy_protocol", "proxy_protocol_version", "set_real_ip_from", "allow",
    "deny", "proxy_connect_timeout", "proxy_timeout", "preread_timeout", "limit_conn", "resolver", "proxy_bind", "set",
    "server_name", "proxy_half_close", "ssl_certificate", "ssl_certificate_key", "proxy_ssl", "proxy_ssl_verify",
    "proxy_ssl_trusted_certificate", "proxy_ssl_certificate", "proxy_ssl_certificate_key", "proxy_ssl_name",
    "proxy_ssl_server_name", "ssl_protocols", "ssl_ciphers", "ssl_session_cache", "ssl_session_timeout",
)  # fmt: skip
_ELSEWHERE = {
    "access_log": "write [access_log]: it has a JSON object for each connection",
    "log_format": "the access log has a JSON object for each connection",
    "error_log": "an option of the program: twistd -l FILE",
    "proxy_next_upstream": "a connection tries all targets in turn",
    "proxy_next_upstream_tries": "a connection tries all targets in turn",
    "proxy_next_upstream_timeout": "[timeouts] connect is for all targets together",
    "proxy_download_rate": "there is no limit of the rate",
    "proxy_upload_rate": "there is no limit of the rate",
    "proxy_requests": "only for UDP",
    "proxy_responses": "only for UDP",
    "proxy_session_drop": "use sniproxyctl drain",
    "limit_conn_log_level": "refused connections are in the log",
}
_SILENT = (
    "proxy_buffer_size", "preread_buffer_size", "tcp_nodelay", "proxy_socket_keepalive", "variables_hash_max_size",
    "variables_hash_bucket_size", "map_hash_max_size", "map_hash_bucket_size", "limit_conn_zone", "resolver_timeout",
    "proxy_protocol_timeout", "map", "upstream", "server", "geo", "split_clients", "server_names_hash_bucket_size",
    "server_names_hash_max_size", "status_zone", "js_import", "js_path", "js_set", "js_var", "limit_conn_zone",
    "limit_conn_status", "limit_conn_dry_run",
)  # fmt: skip
_DECIDES = ("return", "pass", "js_access", "js_preread", "js_filter", "ssl_alpn", "ssl_verify_client", "zone_sync")


@attrs.define
class Server:
    """A server. @ivar directive: its block. @ivar outer: the directives around it, which it inherits."""

    directive: Directive
    outer: Sequence[Directive]
    listens: Sequence[Listen] = ()
    names: Sequence[str] = ()

    def all(self, *names: str) -> list[Directive]:
        """The directives of these names: the server's own, or else the inherited ones."""
        own = [one for one in self.directive.block or () if one.name in names]
        return own or [one for one in self.outer if one.name in names and one.block is None]

    def get(self, name: str) -> Directive | None:
        """The last directive of a name. None: there is none."""
        found = self.all(name)
        return found[-1] if found else None

    def is_on(self, name: str) -> bool:
        """Whether a directive is C{on}."""
        found = self.get(name)
        return found is not None and found.first == "on"

    @property
    def reads_names(self) -> bool:
        """Whether it reads hellos."""
        return self.is_on("ssl_preread")

    @property
    def ends_tls(self) -> bool:
        """Whether it terminates TLS."""
        return any("ssl" in one.options for one in self.listens)

    def set_variables(self) -> list[Directive]:
        """Its C{set} directives with a variable and a value, and those around it."""
        found = [*self.outer, *(self.directive.block or ())]
        return [one for one in found if one.name == "set" and len(one.arguments) == 2 and one.first.startswith("$")]

    def send_proxy(self) -> str | None:
        """The version of the PROXY protocol that it sends. None: none."""
        if not self.is_on("proxy_protocol"):
            return None
        version = self.get("proxy_protocol_version")
        return "v2" if version is not None and version.first in ("2", "v2") else "v1"

    def clients(self, report: Notes) -> list[str] | None:
        """The networks that it takes. None: all."""
        rules = self.all("allow", "deny")
        try:
            return allowed(rules)
        except ValueError as error:
            report.left_out(rules[0].place, str(error), decides=True)
            return None


def read_server(directive: Directive, outer: Sequence[Directive], report: Notes) -> Server:
    """A server, with notes of what it has that is left out."""
    server = Server(directive, outer)
    listens: list[Listen] = []
    for one in directive.block or ():
        if one.name == "listen":
            found = read_listen(one)
            if found is None:
                report.left_out(one.place, f"{one.first}: no address to listen on", decides=True)
            elif "udp" in one.arguments:
                report.left_out(one.place, "UDP is not proxied here")
            else:
                listens += found
    server.listens = listens
    server.names = [name for one in directive.block or () if one.name == "server_name" for name in one.arguments]
    note_others(directive.block or (), report)
    return server


def note_others(block: Sequence[Directive], report: Notes) -> None:
    """Notes of directives that are left out."""
    for one in block:
        if one.name in _TAKEN or one.name in _SILENT:
            continue
        if one.name in _ELSEWHERE:
            report.left_out(one.place, _ELSEWHERE[one.name])
        elif one.name in _DECIDES:
            report.left_out(one.place, "it has no equal here", decides=True)
        else:
            report.left_out(one.place, "unknown directive")
