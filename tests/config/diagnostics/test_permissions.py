"""Tests for sniproxy.config.diagnostics.permissions."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.permissions import file_warnings, root_warning
from sniproxy.config.parser import from_options, parse
from tests.support.configerrors import LISTENER

KEY = "-----BEGIN PRIVATE KEY-----\n"


class PermissionTests(SynchronousTestCase):
    """file_warnings and root_warning."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.folder.chmod(0o755)

    def file(self, name: str, mode: int, text: str = "") -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def warned(self, text: str, *expected: str) -> None:
        found = list(file_warnings(parse(text, str(self.file("f.toml", 0o644)))))
        self.assertEqual(len(expected), len(found), found)
        for part, warning in zip(expected, found, strict=True):
            self.assertIn(part, warning)

    def test_configuration(self) -> None:
        """A file or folder that the group or all may write gives a warning; a sticky folder such as /tmp does not."""
        self.warned(LISTENER)
        for mode, said in ((0o775, "its group"), (0o777, "all users"), (0o1777, "")):
            self.folder.chmod(mode)
            self.warned(LISTENER, *([f"the folder {self.folder} is writable by {said}"] if said else []))
        self.folder.chmod(0o755)
        path = self.file("g.toml", 0o666)
        (warning,) = file_warnings(parse(LISTENER, str(path)))
        self.assertIn(f"the configuration: {path} is writable by all users", warning)

    def test_symbolic_link(self) -> None:
        """The target of a symbolic link is checked, too: another user may replace it."""
        away = self.folder.absolute() / "away"
        away.mkdir()
        away.chmod(0o777)
        (away / "real.toml").touch(0o600)
        link = self.folder / "link.toml"
        link.symlink_to(away / "real.toml")
        (warning,) = file_warnings(parse(LISTENER, str(link)))
        self.assertIn(f"the configuration: the folder {away} is writable by all users", warning)

    def test_read_only(self) -> None:
        """A folder of a file system that is mounted read-only gives no warning, as of kubelet's volumes."""
        self.folder.chmod(0o777)
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID))
        self.warned(LISTENER)

        def gone(path: Path) -> None:
            raise FileNotFoundError(path)

        self.patch(os, "statvfs", gone)
        self.warned(LISTENER, "is writable by all users")
        self.folder.chmod(0o755)

    def test_keys(self) -> None:
        """A world-readable key gives a warning; a group-readable key or a readable certificate does not."""
        ends = f'{LISTENER}certificates = "own.pem"\nupstream_trust = "ca.pem"\n'
        self.file("own.pem", 0o640, KEY)
        self.warned(ends)
        self.file("own.pem", 0o644, "-----BEGIN CERTIFICATE-----\n")
        self.warned(ends)
        self.file("own.pem", 0o644, KEY)
        self.warned(ends, "listener[0].certificates: ")
        self.warned(ends.replace('"own.pem"', '"."'), "own.pem is a secret that all users of this machine can read")

    def test_other_keys(self) -> None:
        """The keys that the proxy and a bridge show to brokers, and the admin endpoint's token."""
        for name in ("up.pem", "bridge.pem"):
            self.file(name, 0o644, KEY)
        self.file("own.pem", 0o600, KEY)
        self.file("token", 0o644, "no PEM")
        ends = 'certificates = "own.pem"\nupstream_trust = "ca.pem"\nupstream_certificate = "up.pem"\n'
        bridge = '[[bridge]]\nendpoint = "tcp:1"\nservice_url = "pulsar+ssl://a.test"\ntrust = "ca.pem"\n'
        admin = '[admin]\nendpoint = "unix:/run/s"\ntoken_file = "token"\n'
        self.warned(LISTENER + ends, f"listener[0].upstream_certificate: {self.folder / 'up.pem'} is a secret")
        self.warned(bridge)
        self.warned(f'{bridge}certificate = "bridge.pem"', f"bridge[0].certificate: {self.folder / 'bridge.pem'} is")
        self.warned(LISTENER + admin, f"admin.token_file: {self.folder / 'token'} is a secret")
        self.warned(f'{bridge}certificate = "missing.pem"')

    def test_options(self) -> None:
        """Options of the command line are in no file."""
        self.assertEqual([], list(file_warnings(from_options(["tcp:1"], ["a.test=b.test"], None))))

    def test_resolvers(self) -> None:
        """A file of names that others may write, and a world-readable token, give warnings."""
        table = f'{LISTENER}[default]\nresolver = "x"\n[resolver.x]\ntype = '
        self.file("names", 0o662)
        self.warned(f'{table}"file"\npath = "names"\n', "resolver.x.path: ")
        self.file("token", 0o644)
        self.warned(f'{table}"pulsar"\ntoken_file = "token"\n', "resolver.x.token_file: ")

    def test_root(self) -> None:
        """Root without --uid gives a warning; another user, and twistd with --uid, do not."""
        self.patch(os, "geteuid", lambda: 0)
        self.assertEqual([1, 0, 0], [len(list(root_warning(x))) for x in ({"uid": None}, {"uid": 5}, None)])
        self.patch(os, "geteuid", lambda: 1000)
        self.assertEqual([], list(root_warning({"uid": None})))
