"""Finds out which program a configuration file is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import MigrateError, SourceFile

_NAMES = {
    "sni.yaml": Format.ATS,
    "records.yaml": Format.ATS,
    "records.config": Format.ATS,
    "ssl_server_name.config": Format.ATS,
    "ssl_multicert.config": Format.ATS,
    "ip_allow.yaml": Format.ATS,
    "haproxy.cfg": Format.HAPROXY,
    "nginx.conf": Format.NGINX,
    "sniproxy.conf": Format.SNIPROXY,
    "envoy.yaml": Format.ENVOY,
    "envoy.json": Format.ENVOY,
}

_CONTENTS = (
    (Format.TLSROUTE, r"^\s*[\"']?apiVersion[\"']?\s*:"),
    (Format.ENVOY, r"^[{\s]*[\"']?(?:static|dynamic)(?:_r|R)esources[\"']?\s*:|type\.googleapis\.com/envoy\."),
    (Format.ATS, r"^sni\s*:|^records\s*:|^\s*CONFIG\s+proxy\.config|^\s*server_config\s*=|^\s*-\s*fqdn\s*:"),
    (Format.NGINX, r"^\s*(?:stream|upstream\s+\S+|server|map\s+\S+\s+\S+)\s*\{|\bssl_preread\b"),
    (Format.SNIPROXY, r"^\s*(?:listene?r?\s+\S+|table(?:\s+\S+)?)\s*\{"),
    (Format.HAPROXY, r"^(?:global|defaults|(?:frontend|backend|listen)\s+\S+)\s*(?:#.*)?$|^\s*use_backend\s"),
)


def detect(files: Sequence[SourceFile]) -> Format:
    """The format of the first file that is recognised, by its name or else by its content.

    @raise MigrateError: no file is recognised.
    """
    for file in files:
        if file.base.lower() in _NAMES:
            return _NAMES[file.base.lower()]
    for file in files:
        for found, pattern in _CONTENTS:
            if re.search(pattern, file.text, re.MULTILINE):
                return found
    names = ", ".join(file.name for file in files)
    raise MigrateError(f"{names}: format not recognised; name it with --from {'|'.join(Format)}")
