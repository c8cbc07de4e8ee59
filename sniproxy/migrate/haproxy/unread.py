"""Reports the lines of haproxy.cfg that nothing here reads. Pure."""

from __future__ import annotations

from sniproxy.migrate.haproxy.sections import Section
from sniproxy.migrate.haproxy.words import word_set
from sniproxy.migrate.model import Notes

_READ = word_set(
    "acl bind mode use_backend default_backend server server-template default-server dispatch use-server balance "
    "tcp-request timeout maxconn source disabled enabled hard-stop-after"
)
_OPTIONS = word_set(
    "ssl-hello-chk httpchk tcp-check mysql-check redis-check pgsql-check ldap-check smtpchk allbackups transparent"
)
_WITHOUT_EFFECT = word_set(
    "log log-tag log-format log-send-hostname description id errorfile backlog fullconn retries retry-on unique- "
    "id-format unique-id-header monitor-uri monitor tcp-check http-check email-alert guid hash-type load-server- "
    "state-from-file tcp-response compression capture rate-limit user group uid gid pidfile daemon chroot node "
    "ulimit-n localpeer presetenv setenv unsetenv resetenv master-worker external-check h1-case-adjust cpu-map "
    "set-dumpable quiet zero-warning spread-checks expose-experimental-directives http-reuse errorloc explicit- "
    "source"
)
_CURES = {
    "nbthread": "see workers",
    "nbproc": "see workers",
    "stats": "see [admin] and sniproxyctl status",
    "stick-table": "see max_connections_per_client and rate_per_client in [limits]",
    "stick": "a client has no fixed target here",
    "option": "has no counterpart",
    "lua-load": "see the resolver plugins",
    "persist": "a client has no fixed target here",
    "force-persist": "a client has no fixed target here",
    "ignore-persist": "a client has no fixed target here",
    "http-request": "TLS passes through",
    "http-response": "TLS passes through",
    "redirect": "TLS passes through",
    "filter": "see inspect",
}
_QUIET_OPTIONS = word_set(
    "tcplog dontlognull redispatch tcpka clitcpka srvtcpka splice-auto splice-request splice-response tcp-smart- "
    "accept tcp-smart-connect logasap log-health-checks contstats socket-stats nolinger dontlog-normal log- "
    "separate-errors independent-streams httplog http-server-close forwardfor http-keep-alive httpclose"
)


def report_unread(section: Section, report: Notes) -> None:
    """Report what a section's own lines say, and nothing here reads."""
    if section.kind not in ("global", "defaults", "frontend", "listen", "backend"):
        report.left_out(section.place, "the section has no counterpart")
        return
    for line in section.lines[section.own :]:
        words = line.words[1:] if line.key in ("no", "default") else line.words
        key, first = (words[0] if words else ""), (words[1] if len(words) > 1 else "")
        if key in _READ or key in _WITHOUT_EFFECT or key.startswith(("ssl-", "tune.", "ca-base", "crt-base", "maxssl")):
            continue
        if key == "option" and (first in _OPTIONS or first in _QUIET_OPTIONS):
            continue
        report.left_out(line.place, f"{' '.join(words[:2])}: {_CURES.get(key, 'has no counterpart')}")
