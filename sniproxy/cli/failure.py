"""How a command of ``sniproxyctl`` fails. Pure."""

from __future__ import annotations


class CommandFailed(Exception):
    """The command failed; the message has the reason and the cure, usually in one line.

    @ivar status: the exit status.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

    @property
    def report(self) -> str:
        """For standard error: each line with the name of the program."""
        return "\n".join(f"sniproxyctl: {line}" for line in str(self).split("\n"))
