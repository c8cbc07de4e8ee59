"""Queries each admin endpoint in a thread of its own, so that one that does not answer delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.admin.aggregation import merged_status
from sniproxy.cli.adminclient import AdminError, fetch_status, fetch_tunnels
from sniproxy.cli.fields import entries, number
from sniproxy.cli.rates import Rates, added, rates, same_rates, tunnel_rates
from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.drains import carry_out
from sniproxy.cli.top.reading import Query, Reading, TunnelPage

RETRY_INTERVAL_S = 1.0
"""Seconds between two queries of an endpoint that does not answer."""


NOTICE_S = 10.0
"""Seconds that the result of a change is shown."""

MIN_RATE_S = 0.9
"""Least seconds between the two answers that a rate is computed from."""


@attrs.frozen
class Base:
    """The answer that the next rates are computed from. @ivar time: when it came, by a monotonic clock."""

    status: dict[str, Any]
    tunnels: Sequence[Mapping[str, Any]]
    time: float


@attrs.frozen
class Answer:
    """The last answer of an endpoint, and why there is no newer one.

    @ivar status: the document; None: there has been no answer. @ivar time: when it came, by a monotonic clock.
    @ivar rates: before it. @ivar page: tunnels; None: not asked for, or the release has no C{/tunnels}.
    @ivar error: why the last query failed; None: it did not. @ivar base: what the next rates are computed from.
    """

    status: dict[str, Any] | None = None
    time: float = 0.0
    rates: Rates = attrs.Factory(Rates)
    page: TunnelPage | None = None
    error: str | None = None
    base: Base | None = None


def query_endpoint(url: str, query: Query, before: Answer, clock: Callable[[], float]) -> Answer:
    """Query an endpoint once. @param before: its last answer. @return: the next one; never raises."""
    try:
        page = fetch_page(url, query) if query.limit else None
        # The tunnels of the status are shown where the release has no /tunnels.
        older = query.limit and page is None
        status = fetch_status(url, tunnels=None if older else 0)
        merged_status([status])  # an answer of a strange form is refused here
    except AdminError as error:
        return attrs.evolve(before, error=str(error))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return attrs.evolve(before, error=f"unexpected answer, perhaps from another release: {error!r}")
    return next_answer(before, status, page, clock())


def next_answer(before: Answer, status: dict[str, Any], page: TunnelPage | None, now: float) -> Answer:
    """The answer after another one, with its rates. Answers soon after another one keep its rates."""
    tunnels, base = () if page is None else page.tunnels, before.base
    if base is None:
        return Answer(status, now, Rates(), page, None, Base(status, tunnels, now))
    seconds = now - base.time
    if seconds < MIN_RATE_S:
        if page is not None:
            known = () if before.page is None else before.page.tunnels
            page = attrs.evolve(page, tunnels=same_rates(known, tunnels))
        return Answer(status, now, before.rates, page, None, base)
    if page is not None:
        page = attrs.evolve(page, tunnels=tunnel_rates(base.tunnels, tunnels, seconds))
    return Answer(status, now, rates(base.status, status, seconds), page, None, Base(status, tunnels, now))


def fetch_page(url: str, query: Query) -> TunnelPage | None:
    """Fetch some tunnels; None if the release of the proxy has no C{/tunnels}. @raise AdminError: the query failed."""
    document = fetch_tunnels(url, query.filter, query.sort, query.limit, query.offset)
    if document is None:
        return None
    found = entries(document, "tunnels")
    return TunnelPage(query, int(number(document, "matched") or len(found)), found, query.offset)


def combined(answers: dict[str, Answer], now: float) -> Reading:
    """Merge the last answers of all endpoints. If none answers, the last answers of all are shown."""
    errors = {url: one.error for url, one in answers.items() if one.error is not None}
    fresh = [one for one in answers.values() if one.status is not None and one.error is None]
    chosen = fresh or [one for one in answers.values() if one.status is not None]
    documents = [one.status for one in chosen if one.status is not None]
    if not documents:
        return Reading(errors=errors)
    try:
        status = merged_status(documents) if len(documents) > 1 else documents[0]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return Reading(errors={**errors, "all": f"the answers cannot be merged: {error!r}"})
    pages = [one.page for one in chosen if one.page is not None]
    return Reading(
        status,
        added(one.rates for one in fresh),
        merged_page(pages) if pages else None,
        len(fresh),
        errors,
        0.0 if fresh else now - max(one.time for one in chosen),
    )


def merged_page(pages: Sequence[TunnelPage]) -> TunnelPage:
    """The pages of several instances as one. Each begins with the first tunnel, unless there is one instance only."""
    tunnels = [one for page in pages for one in page.tunnels]
    return TunnelPage(pages[0].query, sum(page.matched for page in pages), tunnels, pages[0].offset)


class Sources:
    """The threads that query the endpoints.

    @param interval: seconds between two queries of an endpoint. @param token: for changes; None: there is none.
    @ivar version: changes with each answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        token: str | None = None,
    ) -> None:
        self.version = 0
        self._interval = interval
        self._clock = clock
        self._changed = threading.Condition()
        self._answers = {url: Answer() for url in dict.fromkeys(urls)}
        self._query = Query()
        self._asked = 0
        self._token = token
        self._notice = ("", 0.0)
        self._stopped = False

    def start(self) -> None:
        """Start to query. The threads end with the process, or after L{stop}."""
        for url in self._answers:
            threading.Thread(target=self._run, args=(url,), daemon=True).start()

    def stop(self) -> None:
        """Let the threads end after their current query."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def ask(self, query: Query, again: bool = False) -> None:
        """Set which tunnels are asked for. @param again: query now, even if the query is the same."""
        with self._changed:
            if again or query != self._query:
                self._query = query
                self._asked += 1
                self._changed.notify_all()

    def reading(self) -> Reading:
        """What is known now."""
        with self._changed:
            answers, (notice, since) = dict(self._answers), self._notice
        now = self._clock()
        return attrs.evolve(combined(answers, now), notice=notice if now - since < NOTICE_S else "")

    def change(self, change: Change) -> None:
        """Make a change, in a thread of its own. Its result is a notice of the next readings, and values are new."""
        threading.Thread(target=self._change, args=(change,), daemon=True).start()

    def _change(self, change: Change) -> None:
        said = carry_out(change, list(self._answers), self._token)
        with self._changed:
            self._notice = (said, self._clock())
            self._asked += 1
            self.version += 1
            self._changed.notify_all()

    def wait_for(self, version: int, timeout: float) -> bool:
        """Wait for a version other than this one. @return: whether there is one, within the timeout in seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.version != version, timeout)

    def _run(self, url: str) -> None:
        query, asked = self._next(url, None)
        while query is not None:
            answer = query_endpoint(url, query, self._answers[url], self._clock)
            with self._changed:
                self._answers[url] = answer
                self.version += 1
                self._changed.notify_all()
            query, asked = self._next(url, asked)

    def _next(self, url: str, asked: int | None) -> tuple[Query | None, int]:
        """Wait for the time of the next query. @return: the query, None to stop; and the number of L{ask}."""
        with self._changed:
            if asked is not None:
                interval = self._interval
                if self._answers[url].error is not None:
                    interval = min(RETRY_INTERVAL_S, interval)
                self._changed.wait_for(lambda: self._stopped or self._asked != asked, interval)
            return None if self._stopped else self._query, self._asked
