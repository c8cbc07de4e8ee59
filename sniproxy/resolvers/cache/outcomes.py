"""Turns what a resolver plugin returned or raised into an answer, a refusal or a failure. Pure."""

from __future__ import annotations

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.util.text import bounded


def outcome(answer: object) -> Resolution | Refused | Unavailable:
    """Check an answer. An invalid ttl or an answer without targets is a failure of the plugin.

    @param answer: what the plugin returned, or the exception that it raised.
    """
    if isinstance(answer, Refused):
        return answer if _is_ttl(answer.ttl) else Unavailable(f"refused with an invalid ttl: {answer.ttl!r}")
    if isinstance(answer, Unavailable):
        return Unavailable(bounded(str(answer)), authoritative=answer.authoritative)
    if isinstance(answer, Exception):
        return Unavailable(f"unexpected error: {describe_error(answer)}")
    if not isinstance(answer, Resolution):
        return Unavailable(f"returned {type(answer).__name__} instead of Resolution")
    if not answer.targets:
        return Unavailable("returned no targets")
    if answer.ttl is not None and not _is_ttl(answer.ttl):
        return Unavailable(f"returned an invalid ttl: {bounded(repr(answer.ttl), 40)}")
    return answer


def _is_ttl(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


def describe_error(error: Exception) -> str:
    """The type and text of an exception, bounded and printable."""
    return bounded(f"{type(error).__name__}: {error}")


def copy_error(error: Refused | Unavailable) -> Refused | Unavailable:
    """A new exception with the same content. Raising the same one repeatedly would grow its traceback each time."""
    if isinstance(error, Refused):
        return Refused(error.reason, error.ttl)
    return Unavailable(str(error), authoritative=error.authoritative)
