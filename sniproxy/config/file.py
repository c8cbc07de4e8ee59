"""Reads the text of a configuration file."""

from __future__ import annotations

from sniproxy.config.schema import ConfigError


def read_text(path: str) -> str:
    """The text of a file: UTF-8, also with a byte order mark. @raise ConfigError: it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {why}") from error
