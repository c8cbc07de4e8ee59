"""Tests for listeners and their rules."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.model import ANY, NAMELESS, Imported, Rule, SourceFile
from sniproxy.migrate.nginx import listeners, read

UPSTREAMS = "upstream one { server 10.0.0.1:1; } upstream two { server 10.0.0.2:1; } "
NAMES = UPSTREAMS + "map $ssl_preread_server_name $t { a one; b two; c ''; default one; } "


def imported(text: str) -> Imported:
    return read([SourceFile("n.conf", f"stream {{ {text} }}")])


def tables(found: Imported) -> list[ListenerTable]:
    return [table for _, table in found.listeners]


def endpoints(found: Imported) -> list[str]:
    return [table.endpoint for table in tables(found)]


def notes(found: Imported) -> str:
    return "\n".join(f"{note.place} {note.text}{' !' if note.decides else ''}" for note in found.report.notes)


def shown(rules: list[Rule]) -> list[tuple[str, str, str | None]]:
    return [(rule.pattern, ", ".join(rule.targets) or rule.resolver or "", rule.listener) for rule in rules]


class GroupTests(SynchronousTestCase):
    """Addresses of several servers."""

    def test_one_listener_for_each_address(self) -> None:
        """Each address and port has a listener with rules of its own; names only where there are several."""
        found = imported(
            NAMES + "server { listen 10.0.9.1:1-2; listen unix:/run/x.sock; ssl_preread on; proxy_pass $t; }"
        )
        self.assertEqual([table.name for table in tables(found)], ["port-1", "port-2", "x.sock"])
        self.assertEqual(
            shown(found.rules)[:5],
            [
                (NAMELESS, "10.0.0.1:1", "port-1"), ("a", "10.0.0.1:1", "port-1"), ("b", "10.0.0.2:1", "port-1"),
                ("c", "", "port-1"), (ANY, "10.0.0.1:1", "port-1"),
            ],
        )  # fmt: skip
        self.assertEqual(len(found.rules), 15)
        found = imported(NAMES + "server { listen 443; ssl_preread on; proxy_pass $t; }")
        self.assertEqual((tables(found)[0].name, found.rules[0].listener), (None, None))

    def test_same_names(self) -> None:
        """Listeners with the same port have different names."""
        found = imported(NAMES + "server { listen 10.0.0.1:1; listen 10.0.0.2:1; ssl_preread on; proxy_pass $t; }")
        self.assertEqual([table.name for table in tables(found)], ["port-1", "port-1-2"])

    def test_addresses_that_join(self) -> None:
        """IPv4 and IPv6 of one port are one listener, as are a wide and a narrow address of the same server."""
        server = "ssl_preread on; proxy_pass $t; }"
        self.assertEqual(endpoints(imported(f"{NAMES} server {{ listen 443; listen [::]:443; {server}")), ["tcp6:443"])
        found = imported(f"{NAMES} server {{ listen 443; listen 10.0.0.1:443; listen [::1]:443; {server}")
        self.assertEqual(endpoints(found), ["tcp:443", "tcp6:443:interface=\\:\\:1"])
        self.assertIn("tcp:443 takes these connections, too", notes(found))
        found = imported(f"{NAMES} server {{ listen 443; {server} server {{ listen [::]:443; {server}")
        self.assertEqual(endpoints(found), ["tcp6:443"])
        self.assertIn("no two listeners can share one !", notes(found))

    def test_server_names(self) -> None:
        """Servers of one address are chosen by name; the others go to the default server."""
        found = imported(
            UPSTREAMS + "map $ssl_preread_server_name $m { x.b.test one; default two; }"
            "server { listen 1; ssl_preread on; proxy_pass one; server_name a.test *.b.test ~^Q; }"
            "server { listen 1 default_server; ssl_preread on; proxy_pass two; }"
            "server { listen 1; ssl_preread on; proxy_pass $m; server_name *.test '' ~(?R); }"
            "server { listen 1; ssl_preread on; server_name c.test; }"
        )
        self.assertEqual(
            shown(found.rules),
            [
                ("a.test", "10.0.0.1:1", None), ("c.test", "", None), ("*.b.test", "10.0.0.1:1", None),
                ("x.b.test", "10.0.0.1:1", None), ("*.test", "10.0.0.2:1", None), ("~Q.*", "10.0.0.1:1", None),
                (NAMELESS, "10.0.0.2:1", None), (ANY, "10.0.0.2:1", None),
            ],
        )  # fmt: skip
        self.assertIn("(?R) has no equal here !", notes(found))
        self.assertIn("a server without proxy_pass", notes(found))


class ListenerTests(SynchronousTestCase):
    """Kinds of listeners."""

    def test_plaintext(self) -> None:
        """A server that reads no names sends all bytes to one target."""
        found = imported(NAMES + "server { listen 1; proxy_pass $t; allow 10.0.0.0/8; deny all; proxy_protocol on; }")
        self.assertEqual(
            tables(found),
            [
                ListenerTable(
                    endpoint="tcp:1", plaintext=True, target=["10.0.0.1:1"], only_from=["10.0.0.0/8"], send_proxy="v1"
                )
            ],
        )
        self.assertEqual(found.rules, [])
        found = imported("resolver 10.0.0.53; server { listen 1; set $x h.test:1; proxy_pass $x; }")
        self.assertEqual(tables(found)[0].resolver, "dns")
        found = imported("server { listen 1; proxy_pass $ssl_preread_server_name; }\nserver { listen 2; }")
        self.assertEqual(tables(found), [])
        self.assertEqual(notes(found).count("this listener has no target !"), 2)

    def test_headers(self) -> None:
        """listen ... proxy_protocol needs a header of the trusted peers."""
        server = "ssl_preread on; proxy_pass $t; }"
        found = imported(
            f"{NAMES} server {{ listen 1 proxy_protocol; set_real_ip_from 10.0.0.9; set_real_ip_from unix:; "
            f"deny 10.1.1.1; allow 10.0.0.0/8; deny all; {server}"
        )
        (table,) = tables(found)
        self.assertEqual((table.proxy_protocol, table.proxy_protocol_from), ("required", ["10.0.0.9"]))
        self.assertIsNotNone(found.rules[0].only_from)
        found = imported(f"{NAMES} server {{ listen 1 proxy_protocol; allow 10.0.0.0/8; deny all; {server}")
        self.assertEqual(tables(found)[0].proxy_protocol_from, ["10.0.0.0/8"])
        self.assertIsNone(found.rules[0].only_from)
        self.assertIn("list your balancers", notes(found))
        found = imported(f"{NAMES} server {{ listen 1 proxy_protocol; {server}")
        self.assertEqual(tables(found)[0].proxy_protocol_from, ["0.0.0.0/0", "::/0"])
        found = imported(f"{NAMES} server {{ listen unix:/x proxy_protocol; {server}")
        self.assertEqual((tables(found)[0].proxy_protocol, tables(found)[0].proxy_protocol_from), ("required", []))

    def test_terminated_tls(self) -> None:
        """A server that terminates TLS needs TLS to its targets, and their authorities."""
        server = "server { listen 443 ssl; proxy_pass $t; ssl_certificate /e/a.pem; ssl_certificate_key /e/a.key;"
        names = UPSTREAMS + "map $ssl_server_name $t { a one; }"
        found = imported(f"{names} {server} proxy_ssl on; proxy_ssl_trusted_certificate ca.pem; }}")
        self.assertEqual(tables(found), [ListenerTable(endpoint="tcp:443", certificates="/e", upstream_trust="ca.pem")])
        self.assertEqual(shown(found.rules), [("a", "10.0.0.1:1", None)])
        found = imported(
            f"{names} {server.replace('a.key', 'a.pem')} proxy_ssl on; proxy_ssl_trusted_certificate c; }}"
        )
        self.assertEqual(tables(found)[0].certificates, "/e/a.pem")
        found = imported(
            f"{names} {server.replace('/e/a.key', '/k/a.key')} proxy_ssl on; proxy_ssl_trusted_certificate c; }}"
        )
        self.assertEqual(tables(found)[0].certificates, "/e/a.pem")
        found = imported(f"{names} {server} }}")
        self.assertEqual(tables(found), [])
        self.assertIn("it needs proxy_ssl on", notes(found))

    def test_keys_of_rules(self) -> None:
        """The header, the clients and the source address of a server are those of its rules."""
        found = imported(
            NAMES + "server { listen 1; ssl_preread on; proxy_pass $t; proxy_protocol on; allow 10.0.0.0/8; deny all;"
            "proxy_bind $remote_addr transparent; }"
        )
        rule = found.rules[1]
        self.assertEqual((rule.send_proxy, rule.only_from, rule.target_source), ("v1", ["10.0.0.0/8"], "client"))
        self.assertIsNone(found.rules[3].send_proxy)
        found = imported(NAMES + "server { listen 1; ssl_preread on; proxy_pass $t; deny all; }")
        self.assertEqual(found.rules[1].only_from, ["0.0.0.0/32"])
        for bind, text in (("10.0.0.1", "own address"), ("off", "")):
            found = imported(NAMES + f"server {{ listen 1; ssl_preread on; proxy_pass $t; proxy_bind {bind}; }}")
            self.assertIn(text, notes(found))
            self.assertEqual("own address" in notes(found), bool(text))

    def test_what_cannot_be_said(self) -> None:
        """A target that depends on what no route knows refuses its names, and decides."""
        for passed, text in (("$remote_addr:1", "depends on $remote_addr"), ("$y", "$y cannot be split")):
            found = imported(
                NAMES + "map x-$ssl_preread_server_name $y { ~^x one; }"
                f"server {{ listen 1; ssl_preread on; proxy_pass {passed}; }}"
            )
            self.assertEqual(found.rules, [])
            self.assertIn(text, notes(found))
        found = imported(NAMES + "server { listen 1; ssl_preread on; proxy_pass $t; proxy_ssl on; }")
        self.assertIn("TLS within the client's TLS", notes(found))


class BoundTests(SynchronousTestCase):
    """Bounds of what a file can make."""

    def test_too_many_rules(self) -> None:
        """Beyond a number of rules the rest is left out, and decides."""
        self.patch(listeners, "MAX_CASES", 2)
        found = imported(NAMES + "server { listen 9; ssl_preread on; proxy_pass $t; }")
        self.assertEqual(len(found.rules), 3)
        self.assertIn("more than 2 rules; the rest is left out !", notes(found))

    def test_too_long_texts(self) -> None:
        """A text that grows without bound refuses its names."""
        maps = "map $server_port $x0 { default ab; }" + "".join(
            f"map $server_port $x{number + 1} {{ default $x{number}$x{number}; }}" for number in range(60)
        )
        found = imported(f"{maps} server {{ listen 9; ssl_preread on; proxy_pass $x60; }}")
        self.assertEqual(found.rules, [])
        self.assertIn("too many combinations of maps !", notes(found))


class ChainTests(SynchronousTestCase):
    """Servers behind servers."""

    def test_names_go_on_directly(self) -> None:
        """Names have the target and the header of the last server, and the clients of the first."""
        found = imported(
            "map $ssl_preread_server_name $t { a to_a; b 127.0.0.1:7; c unix:/c; d 10.0.0.5:1; e unix:/e; f unix:/f; }"
            "map $ssl_preread_server_name $u { b 10.0.0.8:1; default 10.0.0.9:$server_port; }"
            "upstream to_a { server unix:/a; }"
            "server { listen 443; ssl_preread on; proxy_pass $t; allow 10.0.0.0/8; deny all; }"
            "server { listen unix:/a proxy_protocol; proxy_pass 10.0.0.7:1; proxy_protocol on; deny all; }"
            "server { listen 7; ssl_preread on; proxy_pass $u; }"
            "server { listen unix:/c; ssl_preread on; proxy_pass 127.0.0.1:7; }"
            "server { listen unix:/e; }"
            "server { listen unix:/f; ssl_preread on; proxy_pass unix:/f; }"
        )
        rules = [rule for rule in found.rules if rule.listener == "port-443"]
        self.assertEqual(
            [(rule.pattern, *rule.targets, rule.send_proxy) for rule in rules],
            [
                ("a", "10.0.0.7:1", "v1"), ("b", "10.0.0.8:1", None), ("c", "10.0.0.9:7", None),
                ("d", "10.0.0.5:1", None),
            ],
        )  # fmt: skip
        self.assertEqual([rule.only_from for rule in rules], [["10.0.0.0/8"]] * 4)
        report = notes(found)
        self.assertEqual(report.count("127.0.0.1:7 is a server of this file"), 1)
        self.assertIn("unix:/f: unix sockets are no targets here", report)
        self.assertEqual(len(set(found.report.notes)), len(found.report.notes))
