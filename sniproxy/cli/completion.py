"""``sniproxyctl --print-completion SHELL``: a script with which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
"""The shells that there is a script for."""


class CompletionAction(argparse.Action):
    """Prints the script and exits with status 0."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(completion(parser, str(values)))
        parser.exit()


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the option to the top parser, which has the commands by then or gets them later."""
    parser.add_argument(
        "--print-completion",
        action=CompletionAction,
        choices=SHELLS,
        help="print a script that completes the command line in this shell, and exit",
    )


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of a shell. @param parser: the top parser."""
    import shtab  # only here: no other command needs it

    for action in actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell=shell))


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options and arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from actions(one)
