"""The command ``example``: prints the example files that are installed with the proxy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import attrs

import sniproxy
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.subcommand import add_command

INSTALLED = "share/sniproxy"
"""The folder of an installation; in the sources it is C{etc}."""

DEFAULT = "reverse"


@attrs.frozen
class Example:
    """An example. @ivar path: below the folder. @ivar about: what it is."""

    path: str
    about: str


EXAMPLES: Mapping[str, Example] = {
    DEFAULT: Example("sniproxy.toml", "a configuration: a reverse proxy at the brokers' edge, with most keys"),
    "forward": Example("forward.toml", "a configuration: a forward proxy at the clients' edge"),
    "bridge": Example("bridge.toml", "a configuration: a bridge beside clients without PIP-60"),
    "service": Example("sniproxy.service", "a unit for systemd"),
    "socket": Example("sniproxy.socket", "a socket unit for systemd"),
    "logrotate": Example("sniproxy.logrotate", "the rotation of the access log"),
    "prometheus": Example("prometheus/prometheus.yml", "a scrape configuration of Prometheus"),
    "alerts": Example("prometheus/sniproxy.rules.yml", "alerts for Prometheus"),
    "grafana": Example("grafana/sniproxy.json", "a dashboard for Grafana"),
}


def add_example(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "example",
        "print a commented configuration, a unit or another example file",
        "Prints an example file, by default the commented configuration of a reverse proxy. The configurations are "
        "valid as printed, listen on 127.0.0.1 only, and lead to brokers on this machine or at example.com.",
    )
    parser.add_argument("name", nargs="?", choices=list(EXAMPLES), default=DEFAULT, metavar="NAME",
                        help=f"{', '.join(EXAMPLES)}; default: {DEFAULT}")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the files: name, path, what it is")
    parser.add_argument("--path", action="store_true", help="print the path of the file instead of its content")
    return parser


def run_example(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command. @return: 0. @raise CommandFailed: the files are not installed."""
    folder = examples_folder()
    if options.list:
        width = max(map(len, EXAMPLES))
        for name, example in EXAMPLES.items():
            print(f"{name:<{width}}  {folder / example.path}  {example.about}", file=out)
        return 0
    path = folder / EXAMPLES[options.name].path
    if options.path:
        print(path, file=out)
        return 0
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}; install sniproxy again") from error
    print(with_paths(text, folder) if path.suffix == ".toml" else text, end="", file=out)
    return 0


def with_paths(text: str, folder: Path) -> str:
    """A configuration that is valid elsewhere, too: with absolute paths of the certificates beside the example."""
    return re.sub(r'(?m)^(?!#)(.*")(certs/[^"]+")', lambda match: f"{match[1]}{folder}/{match[2]}", text)


def examples_folder(package: Path | None = None) -> Path:
    """The folder of the examples: that of the sources, or of the installation.

    @param package: the folder of the package; None: of the one that runs.
    @raise CommandFailed: there is none.
    """
    package = package or Path(sniproxy.__file__).parent
    sources = package.parent / "etc"
    if (sources / "sniproxy.toml").is_file():
        return sources
    from importlib import metadata  # only here: no other command needs it

    try:
        files = metadata.distribution("sniproxy").files or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        # An installation may put data files anywhere; its list of files says where.
        if file.as_posix().endswith(f"{INSTALLED}/sniproxy.toml"):
            return Path(str(file.locate())).resolve().parent
    raise CommandFailed("the examples are not installed; they are in the folder etc of the sources")
