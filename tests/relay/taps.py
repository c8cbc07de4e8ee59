"""A tap that keeps what it is shown."""

from __future__ import annotations


class Recorder:
    """@ivar ended: whether it was told of the end."""

    def __init__(self) -> None:
        self.from_client = b""
        self.from_target = b""
        self.shown: list[int] = []
        self.ended = False

    def client(self, data: bytes) -> None:
        self.from_client += data
        self.shown.append(len(data))

    def target(self, data: bytes) -> None:
        self.from_target += data
        self.shown.append(len(data))

    def end(self) -> None:
        self.ended = True
