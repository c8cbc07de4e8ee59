"""Tests for tests.peers.needs."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import FailTest, SkipTest, SynchronousTestCase

from tests.peers import needs


class NeedsTests(SynchronousTestCase):
    """With a PATH of fake programs only."""

    def setUp(self) -> None:
        """No programs, no parts, nothing required."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        changes = {"PATH": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"), "REQUIRE_PEERS": ""}
        self.enterContext(mock.patch.dict(os.environ, changes))

    def program(self, name: str, script: str) -> None:
        """Add a program to the PATH."""
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def test_missing_program(self) -> None:
        """The skip has one command for all missing programs."""
        self.program("java", "")
        skip = self.assertRaises(SkipTest, needs.require, "java", "openssl", "curl")
        line = "apt-get install -y --no-install-recommends curl openssl"
        self.assertEqual(str(skip), f"no openssl, curl here: {line}")

    def test_missing_part(self) -> None:
        """The skip has the command that provides the part."""
        skip = self.assertRaises(SkipTest, needs.require, parts=["classes-4.0"])
        self.assertEqual(str(skip), "the real peers (classes-4.0) are not provided: make peers")

    def test_required(self) -> None:
        """With REQUIRE_PEERS=1 it is a failure."""
        with mock.patch.dict(os.environ, REQUIRE_PEERS="1"):
            failure = self.assertRaises(FailTest, needs.require, parts=["classes-4.0"])
        self.assertIn("make peers", str(failure))

    def test_present(self) -> None:
        """A test with all requirements runs."""
        self.program("openssl", "")
        needs.require("openssl")

    def test_old_go(self) -> None:
        """A Go that is too old to fetch a newer one counts as missing; the message has the required version."""
        self.program("go", "echo go version go1.19.8 linux/amd64")
        self.assertEqual(needs.missing(["go"]), ["go"])
        self.assertIn("Go must be 1.21 or newer", needs.apt_line(["go"]))
        self.program("go", "echo go version go1.26 linux/amd64")
        self.assertEqual(needs.missing(["go"]), [])

    def test_kernel_capability(self) -> None:
        """A missing capability of the kernel is a skip even with REQUIRE_PEERS=1, and is named."""
        needs._private_hosts.cache_clear()
        self.addCleanup(needs._private_hosts.cache_clear)
        self.program("mount", "")
        self.program("unshare", "echo operation not permitted >&2; exit 1")
        with mock.patch.dict(os.environ, REQUIRE_PEERS="1"):
            skip = self.assertRaises(SkipTest, needs.require_private_hosts)
        expected = "kernel capability missing: a private mount namespace (operation not permitted)"
        self.assertEqual(str(skip), expected)
        self.assertIsNone(needs.private_hosts())

    def test_private_hosts(self) -> None:
        """Where the kernel allows it, the command is a prefix; without the program there is none."""
        needs._private_hosts.cache_clear()
        self.addCleanup(needs._private_hosts.cache_clear)
        self.assertIsNone(needs.private_hosts())
        needs._private_hosts.cache_clear()
        self.program("mount", "")
        self.program("unshare", "exit 0")
        prefix = needs.require_private_hosts()
        self.assertEqual((prefix[0], prefix), ("unshare", needs.private_hosts()))
