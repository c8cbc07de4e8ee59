"""What a plugin gave or raised, as one of three: an answer, a refusal, or none. Pure."""

from __future__ import annotations

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.util.text import bounded


def outcome(answer: object) -> Resolution | Refused | Unavailable:
    """Judge it. A ttl that is none, and an answer without targets, are failures of the plugin."""
    if isinstance(answer, Refused):
        return answer if _is_ttl(answer.ttl) else Unavailable(f"it refused with a ttl of {answer.ttl!r}")
    if isinstance(answer, Unavailable):
        return Unavailable(bounded(str(answer)))
    if isinstance(answer, Exception):
        return Unavailable(f"it failed: {described(answer)}")
    if not isinstance(answer, Resolution):
        return Unavailable(f"it gave a {type(answer).__name__} instead of a Resolution")
    if not answer.targets:
        return Unavailable("it gave no target")
    if answer.ttl is not None and not _is_ttl(answer.ttl):
        return Unavailable(f"it gave a ttl of {bounded(repr(answer.ttl), 40)}")
    return answer


def _is_ttl(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


def described(error: Exception) -> str:
    return bounded(f"{type(error).__name__}: {error}")


def again(error: Refused | Unavailable) -> Refused | Unavailable:
    """The error anew: one that is raised again and again grows by each traceback."""
    if isinstance(error, Refused):
        return Refused(error.reason, error.ttl)
    return Unavailable(str(error))
