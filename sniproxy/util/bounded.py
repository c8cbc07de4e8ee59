"""Mappings with a maximum number of entries, for keys that peers choose. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(NamedTuple, Generic[K, V]):
    """One entry: its key, its value, and the time when it was stored."""

    key: K
    value: V
    since: float


class BoundedMap(Generic[K, V]):
    """A mapping with at most `most` entries: storing one more removes the oldest."""

    def __init__(self, most: int) -> None:
        self._most = most
        # A dict keeps insertion order: the first entry is the oldest.
        self._kept: dict[K, Kept[K, V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        """The keys, oldest first."""
        return iter(self._kept)

    def values(self) -> list[V]:
        """The values, oldest first."""
        return [kept.value for kept in self._kept.values()]

    def put(self, key: K, value: V, time: float = 0.0) -> Kept[K, V] | None:
        """Store a value as the newest entry.

        @param time: for L{older}.
        @return: the entry that was removed to make room. None: no entry was removed.
        """
        self._kept.pop(key, None)
        self._kept[key] = Kept(key, value, time)
        return self._kept.pop(next(iter(self._kept))) if len(self._kept) > self._most else None

    def get(self, key: K) -> V | None:
        """The value of a key, or None."""
        kept = self._kept.get(key)
        return None if kept is None else kept.value

    def pop(self, key: K) -> Kept[K, V] | None:
        """Remove and return an entry. None: there is none."""
        return self._kept.pop(key, None)

    def older(self, time: float) -> list[Kept[K, V]]:
        """Remove and return the entries stored before a time, oldest first."""
        old = []
        for kept in self._kept.values():
            if kept.since >= time:
                break
            old.append(kept)
        for kept in old:
            del self._kept[kept.key]
        return old

    def clear(self) -> list[Kept[K, V]]:
        """Remove and return all entries, oldest first."""
        kept = list(self._kept.values())
        self._kept.clear()
        return kept


class LRUMap(BoundedMap[K, V]):
    """A L{BoundedMap} that removes the least recently used entry. L{older} does not work here: L{get} reorders."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        # Finds the oldest entry in constant time after many removals, which a dict does not.
        self._ordered: OrderedDict[K, Kept[K, V]] = OrderedDict()
        self._kept = self._ordered

    def get(self, key: K) -> V | None:
        """The value of a key, now the most recently used; or None."""
        kept = self._ordered.get(key)
        if kept is None:
            return None
        self._ordered.move_to_end(key)
        return kept.value

    def drop(self, key: K) -> None:
        """Remove an entry, if there is one."""
        self._kept.pop(key, None)
