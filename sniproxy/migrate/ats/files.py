"""Which file of Traffic Server is which, by name and content. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.migrate.model import SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents

_YAML_KEYS = ("sni", "records", "ip_allow", "ssl_multicert")
_YAML = re.compile(r"^(?:sni|records|ip_allow|ssl_multicert)\s*:|^\s*-\s*\{?\s*fqdn\s*:", re.MULTILINE)
_CONFIG = re.compile(r"^\s*(?:CONFIG|LOCAL)\s+\S", re.MULTILINE)
_SERVER_CONFIG = re.compile(r"^\s*(?:local\s+)?server_config\s*=", re.MULTILINE)
_MULTICERT = re.compile(r"^[^#\n]*\bssl_cert_name\s*=", re.MULTILINE)
_EMPTY_NAMES = ("sni.yaml", "ssl_server_name.yaml", "ssl_server_name.config")
_SILENT_NAMES = ("records.yaml", "records.config", "ip_allow.yaml", "ssl_multicert.config", "ssl_multicert.yaml")


@attrs.define
class Files:
    """The files, by what they are.

    @ivar sni: lists of entries of C{sni.yaml}, one a file. @ivar server_configs: files with C{server_config = ...}.
    @ivar records: C{records.yaml}, the mapping. @ivar configs: C{records.config}.
    @ivar ip_allow: the rules of C{ip_allow.yaml}. @ivar certificates: C{ssl_multicert.yaml}, the list.
    @ivar multicerts: C{ssl_multicert.config}. @ivar others: the rest, among them lists of addresses.
    @ivar empty: files that may have entries, and have none.
    """

    sni: list[YamlNode] = attrs.field(factory=list)
    server_configs: list[SourceFile] = attrs.field(factory=list)
    records: list[YamlNode] = attrs.field(factory=list)
    configs: list[SourceFile] = attrs.field(factory=list)
    ip_allow: list[YamlNode] = attrs.field(factory=list)
    certificates: list[YamlNode] = attrs.field(factory=list)
    multicerts: list[SourceFile] = attrs.field(factory=list)
    others: list[SourceFile] = attrs.field(factory=list)
    empty: list[SourceFile] = attrs.field(factory=list)

    @property
    def has_routes(self) -> bool:
        """Whether there is a file for routes; it may be empty."""
        return bool(self.sni or self.server_configs or self.empty)

    @property
    def has_records(self) -> bool:
        """Whether there is a file of records."""
        return bool(self.records or self.configs)

    def other(self, path: str) -> SourceFile | None:
        """The file that a path in a configuration names, by its whole path or else by its base name."""
        base = path.rpartition("/")[2]
        same = [file for file in self.others if file.name == path] or [f for f in self.others if f.base == base]
        return same[0] if same else None


def sort_files(files: Sequence[SourceFile]) -> Files:
    """Sort files by what they are. @raise MigrateError: a YAML file is malformed."""
    found = Files()
    for file in files:
        if _SERVER_CONFIG.search(file.text):
            found.server_configs.append(file)
        elif _CONFIG.search(file.text):
            found.configs.append(file)
        elif file.base.lower().endswith((".yaml", ".yml")) or _YAML.search(file.text):
            _sort_yaml(file, found)
        elif _MULTICERT.search(file.text):
            found.multicerts.append(file)
        else:
            _sort_other(file, found)
    return found


def _sort_other(file: SourceFile, found: Files) -> None:
    """A file without anything that is known. One with comments only is none, if its name is known."""
    name = file.base.lower()
    if name in _EMPTY_NAMES:
        found.empty.append(file)
    elif name not in _SILENT_NAMES or not _is_empty(file.text):
        found.others.append(file)


def _is_empty(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines())


def _sort_yaml(file: SourceFile, found: Files) -> None:
    lists = (found.sni, found.records, found.ip_allow, found.certificates)
    known = False
    for document in documents(file):
        if isinstance(document.value, list) and any(one.get("fqdn") is not None for one in document.value):
            found.sni.append(document)  # Traffic Server 8: the list without a key
            known = True
        for key, where in zip(_YAML_KEYS, lists, strict=True):
            node = document.get(key)
            if node is not None:
                where.append(node)
                known = True
    if not known:
        _sort_other(file, found)
