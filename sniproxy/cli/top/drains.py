"""Makes the changes of C{top}: drains a broker at each endpoint, or cancels that."""

from __future__ import annotations

from collections.abc import Sequence

from sniproxy.cli.adminclient import UNIX, AdminError, drain, undrain
from sniproxy.cli.top.changes import RATE_PER_S, Change
from sniproxy.util.text import bounded


def refusal(urls: Sequence[str], token: str | None) -> str:
    """Why nothing can be changed; empty: it can. @param token: that of the endpoints. None: there is none."""
    if token is not None or all(url.startswith(UNIX) for url in urls):
        return ""
    return "changes need --token-file, or an endpoint on a unix socket (unix:/path)"


def carry_out(change: Change, urls: Sequence[str], token: str | None) -> str:
    """Make a change at each endpoint. @return: how it ended, also if it failed; never raises."""
    done, failed = 0, []
    for url in urls:
        try:
            if change.undo:
                undrain(url, change.target, token)
            else:
                drain(url, change.target, RATE_PER_S / len(urls), token)
            done += 1
        except AdminError as error:
            where = f"{bounded(url)}: " if len(urls) > 1 else ""
            failed.append(f"{where}{bounded(str(error))}")
    if failed:
        verb = "undrained" if change.undo else "drained"
        return f"{change.target} not {verb}{f' at {len(failed)} of {len(urls)}' if done else ''}: {'; '.join(failed)}"
    if change.undo:
        return f"{change.target}: drain cancelled, new connections allowed"
    return f"draining {change.target}; d cancels it"
