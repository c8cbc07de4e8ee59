"""A real Apache Traffic Server with SNI routing, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.peers.children import Child
from tests.peers.material import Certificate

RUNROOT = """\
prefix: {folder}
exec_prefix: {folder}
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: {folder}/etc
datadir: {folder}/data
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {folder}/var
runtimedir: {folder}/run
logdir: {folder}/log
cachedir: {folder}/cache
"""
"""The layout, as C{traffic_layout init} writes it, without copies of the programs."""

RECORDS = """\
CONFIG proxy.config.ssl.server.cert.path STRING {folder}/etc
CONFIG proxy.config.ssl.server.private_key.path STRING {folder}/etc
CONFIG proxy.config.hostdb.host_file.path STRING {folder}/hosts
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.diags.output.note STRING E
CONFIG proxy.config.diags.output.debug STRING E
CONFIG proxy.config.diags.debug.enabled INT 1
CONFIG proxy.config.diags.debug.tags STRING ^hostdb$
"""
"""What every test needs: one thread, no cache, names from a file, its log on standard error."""

IP_ALLOW = """\
ip_allow:
  - apply: in
    ip_addrs: 0/0
    action: allow
    methods: ALL
  - apply: out
    ip_addrs: 127.0.0.0/8
    action: allow
    methods: ALL
"""
"""All clients may connect, and names may lead to loopback."""


class TrafficServer:
    """`traffic_server`, once it listens.

    `files`: the texts of its configuration, by name: `sni.yaml`, `records.config` (added to RECORDS) and others.
    `hosts`: addresses by host name. `pair`: its own certificate. Raises ChildError, with its output, if it does not
    start.
    """

    def __init__(self, folder: Path, files: Mapping[str, str], hosts: Mapping[str, str], pair: Certificate) -> None:
        for name in ("etc", "data", "var", "run", "log", "cache"):
            (folder / name).mkdir()
        etc = folder / "etc"
        (folder / "runroot.yaml").write_text(RUNROOT.format(folder=folder))
        hosts_file = folder / "hosts"
        hosts_file.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        (etc / "own.pem").write_bytes(pair.certificate.read_bytes())
        key = etc / "own.key"
        key.touch(mode=0o600)
        key.write_bytes(pair.key.read_bytes())
        (etc / "ssl_multicert.config").write_text("dest_ip=* ssl_cert_name=own.pem ssl_key_name=own.key\n")
        (etc / "storage.config").write_text("")  # no cache
        (etc / "ip_allow.yaml").write_text(IP_ALLOW)
        for name, text in files.items():
            (etc / name).write_text(text)
        records = etc / "records.config"
        records.write_text(RECORDS.format(folder=folder) + files.get("records.config", ""))
        self._child = Child(["traffic_server", f"--run-root={folder}/runroot.yaml"], cwd=folder)
        try:
            self._child.wait_for_text("traffic server running")
            # It reads the file with hosts up to a second later, in its only thread; before, a name would be unknown.
            self._child.wait_for_text("Loading host file")
        except BaseException:
            self.stop()
            raise

    @property
    def said(self) -> list[str]:
        """The lines of its output so far."""
        return self._child.lines

    def stop(self) -> None:
        """Stop it. Can be repeated."""
        self._child.process.kill()
        self._child.stop()
