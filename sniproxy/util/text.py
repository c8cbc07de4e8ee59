"""How texts and numbers are written for people. Pure."""

from __future__ import annotations

MAX_TEXT_CHARS = 300
"""Characters of a text in the log that a peer may have had a part in."""

MAX_QUOTED_CHARS = 160
"""Characters that are quoted of a name that a peer has sent: a bounded text has room for them and for what is wrong."""


def printable(text: str) -> str:
    """In one line of printable ASCII; everything else as backslash escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)


def bounded(text: str, most: int = MAX_TEXT_CHARS) -> str:
    """Printable, and at most so many characters."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(text: str, most: int = MAX_QUOTED_CHARS) -> str:
    """In quotes and printable ASCII, backslashes and quotes escaped too; ``...`` behind the quotes: the text is longer.

    @param most: characters between the quotes, escapes counted as they are written.
    """
    cut = text[:most]
    while len(shown := ascii(cut)) > most + 2:
        cut = cut[: len(cut) * most // len(shown)]
    return shown + ("..." if len(text) > len(cut) else "")


def counted(count: int, what: str) -> str:
    """``1 tunnel``, ``2 tunnels``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def amount(count: int) -> str:
    """Bytes, as a person says them: ``517 B``, ``4.7 kB``."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
