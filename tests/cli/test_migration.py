"""Tests for sniproxy.cli.migration."""

from __future__ import annotations

import io
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli import migration
from sniproxy.config.parser import parse
from sniproxy.config.schema import File, ListenerTable
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import Exported, Imported, MigrateError, Place, Rule, SourceFile


class Reader:
    """A reader under test control."""

    def __init__(self, found: Imported | MigrateError) -> None:
        self.found = found
        self.asked: list[tuple[Format, list[str]]] = []

    def read(self, chosen: Format, files: list[SourceFile], cluster_domain: str | None) -> Imported:
        self.asked.append((chosen, [file.name for file in files]))
        if isinstance(self.found, MigrateError):
            raise self.found
        return self.found


def imported(*rules: Rule) -> Imported:
    """An import with a listener."""
    return Imported([(Place("x"), ListenerTable("tcp:4443"))], list(rules))


RULE = Rule("a.test", Place("haproxy.cfg", 7), ("127.0.0.1:6651",))


class MigrationTestCase(SynchronousTestCase):
    """Runs sniproxyctl."""

    def run_ctl(self, *arguments: str, input: bytes = b"") -> tuple[int, str, str]:
        """@return: the exit status, standard output and standard error."""
        out, error = io.StringIO(), io.StringIO()
        status = ctl.main(arguments, ctl.Streams(io.BytesIO(input), out, error))
        return status, out.getvalue(), error.getvalue()

    def file(self, text: str | bytes, name: str = "haproxy.cfg") -> str:
        """Write a file. @return: its path."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)


class ImportTests(MigrationTestCase):
    """``sniproxyctl import``."""

    def reader(self, found: Imported | MigrateError) -> Reader:
        reader = Reader(found)
        self.patch(migration, "read", reader.read)
        return reader

    def test_result(self) -> None:
        """Our TOML on standard output, the report on standard error; the format comes from the file's name."""
        reader = self.reader(imported(RULE))
        path = self.file("")
        status, out, error = self.run_ctl("import", path)
        self.assertEqual(0, status)
        self.assertEqual(
            "taken:\n  haproxy.cfg:7: a.test to 127.0.0.1:6651\n1 taken, 0 different here, 0 left out\n", error
        )
        self.assertEqual(["a.test"], [route.server_name for route in parse(out, "x").routes])
        self.assertEqual([(Format.HAPROXY, [path])], reader.asked)

    def test_options(self) -> None:
        """--from names the format; '-' is standard input; the report may be JSON."""
        reader = self.reader(imported(RULE))
        status, _, error = self.run_ctl("import", "--from", "nginx", "--json", "-", input=b"x")
        report = json.loads(error)
        self.assertEqual((0, False, ["taken"]), (status, report["decides"], [one["kind"] for one in report["notes"]]))
        self.assertEqual([(Format.NGINX, ["standard input"])], reader.asked)

    def test_left_out(self) -> None:
        """Status 3 if something that decides was left out."""
        self.reader(imported(RULE, Rule("bad name", Place("haproxy.cfg", 9))))
        status, _, error = self.run_ctl("import", self.file(""))
        self.assertEqual(3, status)
        self.assertIn("! haproxy.cfg:9: not a route here", error)

    def test_invalid_result(self) -> None:
        """What our own parser refuses is reported."""
        self.reader(Imported([], [RULE]))
        status, _, error = self.run_ctl("import", self.file(""))
        self.assertEqual(3, status)
        self.assertIn("! the result: not valid yet: the result: listener: missing", error)

    def test_errors(self) -> None:
        """One line for what cannot be read, and status 1."""
        self.reader(MigrateError("haproxy.cfg:3: unmatched quote"))
        for arguments, data, why in (
            ([self.file("")], b"", "haproxy.cfg:3: unmatched quote"),
            ([self.file("", "unknown")], b"", "format not recognised"),
            (["/nonexistent/haproxy.cfg"], b"", "cannot read /nonexistent/haproxy.cfg: No such file or directory"),
            ([self.file(b"ab\xff")], b"", "not UTF-8 at byte 2"),
            (["-"], b"x" * 2000, "-: larger than 0 MiB"),
        ):
            self.patch(migration, "MAX_BYTES", 1000)
            status, out, error = self.run_ctl("import", *arguments, input=data)
            self.assertEqual((1, "", 1), (status, out, error.count("\n")))
            self.assertIn(why, error)


class ExportTests(MigrationTestCase):
    """``sniproxyctl export``."""

    OURS = '[[listener]]\nendpoint = "tcp:4443"\n[[route]]\nserver_name = "a.test"\ntarget = "127.0.0.1:6651"\n'

    def writer(self) -> list[tuple[str, File]]:
        asked: list[tuple[str, File]] = []

        def write(to: str, file: File, cluster_domain: str | None) -> Exported:
            asked.append((to, file))
            made = Exported("text\n")
            made.report.left_out(Place("sniproxy.toml", 0, "bridge[0]"), "no counterpart", decides=len(asked) > 1)
            return made

        self.patch(migration, "write", write)
        return asked

    def test_result(self) -> None:
        """The other configuration on standard output, the report on standard error; 3 if something decides."""
        asked = self.writer()
        path = self.file(self.OURS, "sniproxy.toml")
        status, out, error = self.run_ctl("export", "--to", "nginx", path)
        self.assertEqual((0, "text\n"), (status, out))
        self.assertIn("sniproxy.toml bridge[0]: no counterpart", error)
        self.assertEqual(("nginx", "a.test"), (asked[0][0], asked[0][1].route[0].server_name))
        self.assertEqual(3, self.run_ctl("export", "--to", "nginx", path)[0])

    def test_invalid(self) -> None:
        """Our own errors, as --check says them."""
        self.writer()
        status, out, error = self.run_ctl("export", "--to", "envoy", self.file("[[route]]\n", "sniproxy.toml"))
        self.assertEqual((1, ""), (status, out))
        self.assertIn("route[0].server_name: missing", error)


class ClusterDomainTests(MigrationTestCase):
    """The option ``--cluster-domain`` of both commands."""

    TOML = ExportTests.OURS.replace("127.0.0.1:6651", "b.default.svc.k8s.test:1")

    def test_names_of_services(self) -> None:
        """A name below the domain is a Service, and a Service becomes such a name."""
        path = self.file(self.TOML, "sniproxy.toml")
        status, manifests, _ = self.run_ctl("export", "--to", "tlsroute", "--cluster-domain", "k8s.test", path)
        self.assertEqual(0, status)
        self.assertNotIn("ExternalName", manifests)
        self.assertIn("ExternalName", self.run_ctl("export", "--to", "tlsroute", path)[1])
        path = self.file(manifests, "routes.yaml")
        status, toml, _ = self.run_ctl("import", "--cluster-domain", "k8s.test", path)
        self.assertEqual("b.default.svc.k8s.test:1", parse(toml, "x").routes[0].resolver.options["target"][0])
        self.assertIn("b.default.svc.cluster.local:1", self.run_ctl("import", path)[1])

    def test_other_formats(self) -> None:
        """They have no such domain."""
        path = self.file(self.TOML, "sniproxy.toml")
        status, out, error = self.run_ctl("export", "--to", "nginx", "--cluster-domain", "k8s.test", path)
        self.assertEqual((1, ""), (status, out))
        self.assertIn("--cluster-domain is for tlsroute, not for nginx; leave it out", error)
        path = self.file("frontend f\n  bind :1\n")
        status, out, error = self.run_ctl("import", "--cluster-domain", "k8s.test", path)
        self.assertIn("not for haproxy", error)
