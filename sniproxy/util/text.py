"""Formats texts and numbers for people. Pure."""

from __future__ import annotations

MAX_TEXT_CHARS = 300
"""Maximum characters of a logged text that a peer may have influenced."""

MAX_QUOTED_CHARS = 160
"""Maximum characters quoted of a name that a peer sent. A bounded text has room for the name and the fault."""


def printable(text: str) -> str:
    """Escape all but printable ASCII with backslashes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)


def bounded(text: str, most: int = MAX_TEXT_CHARS) -> str:
    """Make a text printable and cut it to a maximum length."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(text: str, most: int = MAX_QUOTED_CHARS) -> str:
    """Quote a text in printable ASCII, with backslashes and quotes escaped. ``...`` behind the quotes marks a cut.

    @param most: maximum characters between the quotes, escapes included.
    """
    cut = text[:most]
    while len(shown := ascii(cut)) > most + 2:
        cut = cut[: len(cut) * most // len(shown)]
    return shown + ("..." if len(text) > len(cut) else "")


def counted(count: int, what: str) -> str:
    """``1 tunnel``, ``2 tunnels``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def amount(count: int) -> str:
    """A number of bytes for people: ``517 B``, ``4.7 kB``."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """A time in seconds, in the largest unit of which there are at least two."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
