"""The command ``fault``: lists, adds and removes faults on purpose of a running proxy."""

from __future__ import annotations

import argparse
import json
from typing import Any, TextIO

from sniproxy.cli.adminclient import AdminError, add_fault, fetch_faults, remove_fault
from sniproxy.cli.admincommands import read_token
from sniproxy.cli.faultoptions import ADD, LIST
from sniproxy.cli.statustext import fault_line
from sniproxy.util.text import printable


def run_fault(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command. @return: 0. @raise AdminError: a query failed, or the proxy refused a change."""
    token = read_token(options.token_file)
    for text in options.values:
        if not text.isprintable():  # bytes that are not UTF-8, too
            options.usage(f"{printable(text)}: write printable text")
    if options.what == LIST:
        if options.values:
            options.usage("list takes no further words")
        found = fetch_faults(options.admin)
        _print(options, out, found, lambda: [fault_line(one) for one in found["faults"]] or ["no faults"])
    elif options.what == ADD:
        added = add_fault(options.admin, _values(options), token)
        _print(options, out, added, lambda: [f"added: {fault_line(added)}"])
    else:
        if not options.values:
            options.usage("name the faults to remove")
        for name in options.values:
            removed = remove_fault(options.admin, name, token)
            _print(options, out, removed, lambda name=name: [f"removed: {printable(name)}"])
    return 0


def _values(options: argparse.Namespace) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in options.values:
        key, equals, value = text.partition("=")
        if not equals:
            options.usage(f"{text!r}: write KEY=VALUE, as in action=reset on=LOOKUP_RESPONSE")
        if key in found:
            options.usage(f"{key} is given twice")
        found[key] = value
    if "action" not in found:
        options.usage("write action=..., as in action=reset on=LOOKUP_RESPONSE")
    return found


def _print(options: argparse.Namespace, out: TextIO, document: dict[str, Any], lines: Any) -> None:
    if options.json:
        print(json.dumps(document), file=out)
        return
    try:
        text = "\n".join(lines())
    except (KeyError, TypeError, ValueError) as error:
        raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error
    print(text, file=out)
