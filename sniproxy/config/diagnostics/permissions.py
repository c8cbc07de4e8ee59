"""Warnings about file permissions and users, for C{--check}: readable private keys, writable files, running as root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from sniproxy.config.model import Configuration
from sniproxy.config.warnings import named_resolvers

MAX_FILES = 200
"""Files of one folder that are checked."""

_MAX_KEY_BYTES = 1 << 20
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_FILE_OPTIONS = ("path", "trust", "certificate", "key", "token_file", "digest_file")
"""The resolvers' options that name files."""


def root_warning(twistd: Mapping[str, object] | None) -> Iterator[str]:
    """Warn if the proxy runs as root. @param twistd: its options; it may change users later. None: not twistd."""
    if os.geteuid() == 0 and twistd is not None and twistd.get("uid") is None:
        yield (
            "the proxy runs as root: run it as a dedicated user (User= of a systemd unit, or twistd --uid), "
            "with CAP_NET_BIND_SERVICE for ports below 1024"
        )


def file_warnings(configuration: Configuration) -> Iterator[str]:
    """Warn of files and folders that other users can write, and of private keys that all users can read.

    A group may read a key, but not write a file. Missing files are reported elsewhere.
    """
    checked: set[Path] = set()
    if configuration.text:
        yield from _writable("the configuration", Path(configuration.filename), checked)
    folder = Path(configuration.filename).parent
    for key, path in _resolver_files(configuration):
        yield from _writable(key, folder / path, checked)
        yield from _readable(key, folder / path, key.endswith((".key", "_file")))
    if configuration.admin is not None and configuration.admin.token_file is not None:
        yield from _readable("admin.token_file", Path(configuration.admin.token_file), True)
    for key, path in _key_files(configuration):
        yield from _readable(key, Path(path), False)


def _resolver_files(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for table in named_resolvers(configuration):
        for name in _FILE_OPTIONS:
            value = table.options.get(name)
            if isinstance(value, str) and value and "\0" not in value and (name != "path" or table.kind == "file"):
                yield f"{table.key}.{name}", value


def _key_files(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for listener in configuration.listeners:
        if listener.termination is not None:
            yield f"{listener.key}.certificates", listener.termination.certificates
            if listener.termination.certificate is not None:
                yield f"{listener.key}.upstream_certificate", listener.termination.certificate
    for bridge in configuration.bridges:
        if bridge.certificate is not None:
            yield f"{bridge.key}.certificate", bridge.certificate


def _writable(key: str, path: Path, checked: set[Path]) -> Iterator[str]:
    """Check a file, its folder, and both of the target of a symbolic link."""
    real = Path(os.path.realpath(path))
    for one in (path, path.parent, *((real, real.parent) if path.is_symlink() else ())):
        mode = _mode(one)
        if one in checked or not mode & _WRITABLE or _read_only(one):
            continue
        checked.add(one)
        if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:  # sticky: users can replace only their own files
            continue
        others = "all users" if mode & stat.S_IWOTH else "its group"
        what = f"the folder {one}" if stat.S_ISDIR(mode) else str(one)
        yield f"{key}: {what} is writable by {others}: they can redirect connections; run chmod go-w {one}"


def _readable(key: str, path: Path, secret: bool) -> Iterator[str]:
    """@param secret: the file is a secret even without a PEM key."""
    try:
        files = sorted(path.iterdir())[:MAX_FILES] if path.is_dir() else [path]
    except OSError:
        return
    for file in files:
        mode = _mode(file)
        if stat.S_ISREG(mode) and mode & stat.S_IROTH and (secret or _has_key(file)):
            yield f"{key}: {file} is a secret that all users of this machine can read; run chmod o-rwx {file}"


def _has_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"PRIVATE KEY-----" in file.read(_MAX_KEY_BYTES)
    except OSError:
        return False


def _read_only(path: Path) -> bool:
    """Whether a file system is mounted read-only. kubelet's volumes are, and their folders have mode 0777."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0
