"""The reader of each format, imported when it is used. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from sniproxy.config.schema import File
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import Exported, Imported, SourceFile

_READERS = {
    Format.ATS: "sniproxy.migrate.ats",
    Format.HAPROXY: "sniproxy.migrate.haproxy",
    Format.NGINX: "sniproxy.migrate.nginx",
    Format.SNIPROXY: "sniproxy.migrate.sniproxyconf",
    Format.ENVOY: "sniproxy.migrate.envoy",
    Format.TLSROUTE: "sniproxy.migrate.tlsroute",
}


def read(found: Format, files: Sequence[SourceFile], cluster_domain: str | None = None) -> Imported:
    """Read files of a format. @raise MigrateError: a file cannot be read at all.

    @param cluster_domain: for L{Format.TLSROUTE} only: the end of the names of Services. None: C{cluster.local}.
    """
    reader: Callable[..., Imported] = import_module(_READERS[found]).read
    return reader(files, **_options(cluster_domain))


def write(to: str, file: File, cluster_domain: str | None = None) -> Exported:
    """Write a configuration in a format of L{sniproxy.migrate.formats.WRITERS}. @param cluster_domain: of L{read}."""
    writer: Callable[..., Exported] = import_module(f"sniproxy.migrate.export.{to}").write
    return writer(file, **_options(cluster_domain))


def _options(cluster_domain: str | None) -> dict[str, str]:
    return {} if cluster_domain is None else {"cluster_domain": cluster_domain}
