"""Sphinx: builds the manual from these pages and the docstrings of the public API (`make docs`)."""

from __future__ import annotations

import re
from typing import Any

from sniproxy import __version__

project = "sniproxy"
author = "The sniproxy authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"sniproxy {__version__}"

# Links to headings, as the pages have them on GitHub, too.
myst_heading_anchors = 4
nitpicky = True
# Exceptions that docstrings name by their last part, and annotations of other packages.
nitpick_ignore_regex = [("py:exc", r"\w+"), ("py:class", r"collections\.abc\.\w+")]
autodoc_typehints = "none"
autodoc_member_order = "bysource"

_FIELDS = {"return": "returns", "raise": "raises"}


def _from_epytext(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the docstrings' epytext (L{Name}, C{code}, @param x:) into reStructuredText, in place."""
    text = "\n".join(lines)
    text = re.sub(r"[LC]\{([^}]*)\}", r"``\1``", text)
    text = re.sub(
        r"[ ]*@(param|ivar|return|raise)\b ?([\w.*]*):",
        lambda found: f"\n:{_FIELDS.get(found[1], found[1])}{' ' * bool(found[2])}{found[2]}:",
        text,
    )
    # A list of fields begins behind an empty line; the lines that continue a field are indented.
    fields = False
    out = []
    for line in text.splitlines():
        if re.match(r":\w+[^:]*:", line):
            if not fields:
                out.append("")
            fields = True
            out.append(line)
        elif fields:
            out += [f"    {line.strip()}"] if line.strip() else []
        else:
            out.append(line)
    lines[:] = out


def _name_outside_pages(app: Any, docname: str, source: list[str]) -> None:
    """Name pages that are not in the site, as bench/RESULTS.md, in place of a link; tests.test_docs checks the link."""
    link = r"\[([^\]]+)\]\((?:\.\./)+((?!howto/|reference/|explanation/)[\w./-]+\.md)(?:#[\w-]+)?\)"
    source[0] = re.sub(
        link, lambda found: f"`{found[2]}`" if found[1] == found[2] else f"{found[1]} (`{found[2]}`)", source[0]
    )


def setup(app: Any) -> None:
    app.connect("source-read", _name_outside_pages)
    app.connect("autodoc-process-docstring", _from_epytext)
