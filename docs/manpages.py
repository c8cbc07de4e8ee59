"""Writes the man pages in `docs/man` from the parsers that print `--help` (`make man`)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from twisted.python import usage

from sniproxy import ctl
from sniproxy.tap import Options

FOLDER = Path(__file__).parent / "man"

WEB = {"PIP-60": "https://github.com/apache/pulsar/blob/master/pip/pip-60.md"}
"""Pages on the web that both man pages name."""


def escaped(text: str) -> str:
    """A text for roff, in one line: with its backslashes and hyphens, and no dot or quote that begins a request."""
    text = re.sub(r"\s+", " ", text.strip()).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text)


def bold(text: str) -> str:
    """A text in bold."""
    return f"\\fB{escaped(text)}\\fR"


def heading(name: str, section: int, summary: str) -> list[str]:
    """The begin of a page."""
    return [
        '.\\" Written by docs/manpages.py from the help of the program: run make man.',
        f'.TH {name.upper()} {section} "" sniproxy "sniproxy manual"',
        # Neither filled lines nor hyphens: names and commands are copied from here.
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(summary)}",
    ]


def see_also(pages: Sequence[tuple[str, int]]) -> list[str]:
    """The end of a page. @param pages: other man pages, with their sections."""
    names = ",\n".join(f".BR {escaped(name)} ({section})" for name, section in pages)
    links = [f".UR {escaped(url)}\n{escaped(title)}\n.UE" for title, url in WEB.items()]
    return [".SH SEE ALSO", *names.split("\n"), ".PP", *links]


def words(action: argparse.Action) -> str:
    """The value of an option, or an argument, as a synopsis has it; empty for a flag."""
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else None
    metavar = str(action.metavar or choices or (action.dest.upper() if action.option_strings else action.dest))
    return {"?": f"[{metavar}]", "*": f"[{metavar} ...]", "+": f"{metavar} ..."}.get(str(action.nargs), metavar)


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The arguments and options of a parser, each with its help."""
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help in (None, argparse.SUPPRESS):
            continue
        value = f"\\fI{escaped(words(action))}\\fR" if words(action) else ""
        names = ", ".join(map(bold, action.option_strings))
        yield ".TP"
        yield " ".join(part for part in (names, value) if part)
        yield escaped(formatter._expand_help(action))


def synopsis(parser: argparse.ArgumentParser) -> str:
    """One line: the command, its options and arguments."""
    arguments = [words(one) for one in parser._actions if not one.option_strings]
    required = [one for one in parser._actions if one.option_strings and one.required]
    texts = [f"{one.option_strings[-1]} {words(one)}" for one in required] + arguments
    return " ".join([bold(parser.prog), "[\\fIoptions\\fR]", *(f"\\fI{escaped(one)}\\fR" for one in texts)])


def sniproxyctl_page() -> str:
    """sniproxyctl(1)."""
    top, commands = ctl.parser()
    lines = heading("sniproxyctl", 1, "tools for the SNI proxy of Apache Pulsar")
    lines += [".SH SYNOPSIS", f"{bold('sniproxyctl')} \\fICOMMAND\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]"]
    lines += [".SH DESCRIPTION", escaped(top.description or ""), *options_of(top), ".SH COMMANDS"]
    for name, parser in commands.items():
        lines += [f".SS {escaped(name)}", synopsis(parser), ".PP", escaped(parser.description or "")]
        lines += options_of(parser)
        if parser.epilog:
            lines += [".PP", escaped(parser.epilog)]
    lines += [".SH EXIT STATUS", escaped((top.epilog or "").removeprefix("Exit status: "))]
    lines += see_also([("twistd-sniproxy", 8)])
    return "\n".join(lines) + "\n"


def twistd_options(options: usage.Options) -> Iterator[str]:
    """The options of a program of Twisted, each with its help."""
    letters = {name: letter for letter, name in options.synonyms.items() if len(letter) == 1}
    for option in sorted(options.longOpt):
        name = option.rstrip("=")
        names = [f"-{letters[name]}"] if name in letters else []
        value = " \\fIVALUE\\fR" if option.endswith("=") else ""
        yield ".TP"
        yield ", ".join(bold(one) for one in [*names, f"--{name}"]) + value
        yield escaped(options.docs[name] or "")


def proxy_page() -> str:
    """twistd-sniproxy(8), which `man twistd sniproxy` shows."""
    lines = heading("twistd-sniproxy", 8, "an SNI proxy for Apache Pulsar")
    lines += [".SH SYNOPSIS", f"{bold('twistd')} [\\fItwistd options\\fR] {bold('sniproxy')} [\\fIoptions\\fR]"]
    lines += [".SH DESCRIPTION", escaped(Options.longdesc), ".SH OPTIONS", *twistd_options(Options())]
    lines += [
        ".PP",
        "Options of twistd itself precede the word sniproxy:",
        f"{bold('-n')} stays in the foreground, {bold('--pidfile')} writes a pid file,",
        f"{bold('-l')} sends the log to a file.",
    ]
    return "\n".join([*lines, *see_also([("sniproxyctl", 1), ("twistd", 1)])]) + "\n"


PAGES = {"sniproxyctl.1": sniproxyctl_page, "twistd-sniproxy.8": proxy_page}
"""What writes each page, by the name of its file."""


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="ascii")


if __name__ == "__main__":
    main()
