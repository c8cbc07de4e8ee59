"""The files of the page, in C{static}."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_SCRIPTS = (
    "brokers", "curves", "drains", "flows", "health", "helpers", "history", "layouts", "page", "picture", "summary",
    "tables", "texts", "topics", "treemap", "tunnels",
)  # fmt: skip

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/parts.css": ("parts.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
}
"""The names and types of the files, by path."""


@cache
def page_file(path: str) -> tuple[str, bytes]:
    """The type and content of a file. @param path: a key of L{PAGE}."""
    name, kind = PAGE[path]
    return kind, files("sniproxy.admin").joinpath("static", name).read_bytes()
