"""The options of an interval, for commands that repeat."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from sniproxy.cli.adminclient import as_url
from sniproxy.cli.secondstype import seconds_type

DEFAULT_INTERVAL_S = 2.0
"""Seconds between two queries of a running proxy."""

MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 3600.0
"""Bounds of the seconds between two queries."""


interval_type = seconds_type("interval", MIN_INTERVAL_S, MAX_INTERVAL_S)
"""The C{type} of an option with an interval."""


class WatchAction(argparse.Action):
    """C{--watch [SECONDS]}. A word after it that is no number is a URL, as in C{--watch http://127.0.0.1:9090}.

    argparse gives an optional value to the option, even if it is meant as an argument of the command.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        interval = DEFAULT_INTERVAL_S
        if isinstance(values, str):
            if re.fullmatch(r"-?[0-9.]+", values):
                try:
                    interval = interval_type(values)
                except argparse.ArgumentTypeError as error:
                    raise argparse.ArgumentError(self, str(error)) from error
            else:
                namespace.also = [as_url(values)]
        setattr(namespace, self.dest, interval)
