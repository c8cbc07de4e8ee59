"""Listeners whose chains terminate TLS. Pure.

A listener here terminates TLS for all its names or for none, and always opens another TLS connection to the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sniproxy.migrate.envoy.chains import Chain
from sniproxy.migrate.envoy.messages import entries, text, typed
from sniproxy.migrate.model import Notes
from sniproxy.migrate.yamlnodes import YamlNode

CERTIFICATES = (".pem", ".crt", ".cer", ".key")


def downstream_tls(chain: YamlNode) -> YamlNode | None:
    """The TLS context of a chain that terminates TLS. None: it does not."""
    socket = chain.get("transport_socket")
    if socket is None:
        return chain.get("tls_context")
    kind, config = typed(socket)
    if kind == "proxy_protocol" and config is not None and config.get("transport_socket") is not None:
        kind, config = typed(config.value["transport_socket"])
    return None if kind == "raw_buffer" else config or socket


def certificates(chains: Sequence[Chain]) -> str | None:
    """Our C{certificates}: one file, or the folder of all files. None: they are not in files of one folder."""
    files: list[str] = []
    for chain in chains:
        context = downstream_tls(chain.node)
        common = None if context is None else context.get("common_tls_context")
        listed = entries(common, "tls_certificates")
        for certificate in listed:
            files += [text(certificate, key, "filename") for key in ("certificate_chain", "private_key")]
        if not listed:
            return None
    if len(set(files)) == 1 and files[0]:
        return files[0]
    folders = {file.rpartition("/")[0] for file in files}
    alike = all(file.endswith(CERTIFICATES) for file in files)
    return next(iter(folders)) if len(folders) == 1 and alike and "" not in folders else None


def trust(contexts: Iterable[YamlNode | None]) -> str | None:
    """Our C{upstream_trust}: the authorities' file that all contexts name. None: they name none, or different ones."""
    found = set()
    for context in contexts:
        file = text(context, "common_tls_context", "validation_context", "trusted_ca", "filename")
        inner = ("combined_validation_context", "default_validation_context", "trusted_ca", "filename")
        found.add(file or text(context, "common_tls_context", *inner))
    return next(iter(found)) or None if len(found) == 1 else None


def _contexts(chain: Chain) -> Sequence[YamlNode | None]:
    return chain.destination.tls or [None]


def terminated(chains: Sequence[Chain], report: Notes) -> tuple[str, str] | None:
    """C{certificates} and C{upstream_trust} of a listener whose chains all terminate TLS. None: it cannot be had."""
    shown = certificates(chains)
    trusted = trust(one for chain in chains for one in _contexts(chain))
    if shown is None or trusted is None:
        return None
    for chain in chains:
        text_ = f"terminated here with the certificates in {shown}, chosen by name; the target's certificate is"
        report.different(chain.place, f"{text_} verified for the client's server name")
    return shown, trusted
