"""A dictionary that cannot grow without bound: what is remembered of a connection. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(NamedTuple, Generic[K, V]):
    """One entry: its key, its value, and the time when it was put there."""

    key: K
    value: V
    since: float


class BoundedMap(Generic[K, V]):
    """Remembers values by key, at most ``most`` of them; more push out the oldest."""

    def __init__(self, most: int) -> None:
        self._most = most
        # A dict keeps the order in which keys came: the first is the oldest.
        self._kept: dict[K, Kept[K, V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        """The keys, oldest first."""
        return iter(self._kept)

    def put(self, key: K, value: V, time: float) -> Kept[K, V] | None:
        """Remember a value, as the newest; returns what had to go for it: the oldest, or nothing."""
        self._kept.pop(key, None)
        self._kept[key] = Kept(key, value, time)
        return self._kept.pop(next(iter(self._kept))) if len(self._kept) > self._most else None

    def get(self, key: K) -> V | None:
        """The value of a key, None when it is not remembered."""
        kept = self._kept.get(key)
        return None if kept is None else kept.value

    def pop(self, key: K) -> Kept[K, V] | None:
        """Forget a key; returns what was remembered."""
        return self._kept.pop(key, None)

    def older(self, time: float) -> list[Kept[K, V]]:
        """Forget all that was put before ``time``; returns it, oldest first."""
        old = []
        for kept in self._kept.values():
            if kept.since >= time:
                break
            old.append(kept)
        for kept in old:
            del self._kept[kept.key]
        return old

    def clear(self) -> list[Kept[K, V]]:
        """Forget all; returns it, oldest first."""
        kept = list(self._kept.values())
        self._kept.clear()
        return kept
