"""Tests for sniproxy.resolvers.pulsar.listeners."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.pulsar.listeners import (
    MAX_LISTENER_CHARS,
    MAX_URLS,
    Listeners,
    ListenerURL,
    parse_listeners,
    read_urls,
)

INTERNAL = ListenerURL("internal", "10.0.0.1", 6650, False)
EXTERNAL = ListenerURL("external", "broker-1.test", 6651, True)


class ListenerTests(SynchronousTestCase):
    """The texts advertisedListeners and bindAddresses."""

    def test_urls(self) -> None:
        """Names and URLs are read in their order; blanks around them do not count."""
        text = "internal:pulsar://10.0.0.1:6650,external:pulsar+ssl://broker-1.test:6651"
        self.assertEqual(Listeners((INTERNAL, EXTERNAL)), parse_listeners(text))
        spaced = "\n internal : pulsar://10.0.0.1:6650 ,\t,external: PULSAR+SSL://Broker-1.test.:6651 ,"
        self.assertEqual(Listeners((INTERNAL, EXTERNAL)), parse_listeners(spaced))
        self.assertEqual(Listeners(()), parse_listeners(""))

    def test_default_port(self) -> None:
        """A URL without a port has Pulsar's."""
        urls = parse_listeners("a:pulsar://[2001:DB8::1],b:pulsar+ssl://b.test").urls
        self.assertEqual([("2001:db8::1", 6650), ("b.test", 6651)], [(one.host, one.port) for one in urls])

    def test_other_protocols(self) -> None:
        """HTTP is skipped; a protocol that is not Pulsar's is skipped with a note, and is not invalid."""
        found = parse_listeners(
            "external:https://broker-1.test:8443,external:HTTP://a:1,mqtt:mqtt+ssl://0.0.0.0:8883,external:pulsar+ssl://broker-1.test"
        )
        note = "listener 'mqtt' skipped: scheme 'mqtt+ssl' is not Pulsar's"
        self.assertEqual(Listeners((EXTERNAL,), (note,)), found)

    def test_invalid(self) -> None:
        """Other texts are skipped with a note that has the place and the cause."""
        for text, words in (
            ("external", "invalid listener 'external'"),
            ("pulsar+ssl://broker-1.test:6651", "invalid listener"),
            ("external:pulsar://a b:1", "listener 'external' 'pulsar://a b:1': bad host"),
            ("external:pulsar://a:99999", "bad port"),
            (f"{'x' * (MAX_LISTENER_CHARS + 1)}:pulsar://a:1", "skipped: its name is too long"),
        ):
            found = parse_listeners(f"{text},internal:pulsar://10.0.0.1:6650")
            self.assertEqual(((INTERNAL,), True), (found.urls, found.invalid))
            (note,) = found.notes
            self.assertIn(words, note)

    def test_many(self) -> None:
        """At most MAX_URLS URLs are read, and as many notes are kept of invalid ones."""
        found = read_urls([("a", f"pulsar://h{n}:1") for n in range(MAX_URLS + 2)])
        self.assertEqual(MAX_URLS, len(found.urls))
        self.assertEqual((f"2 listeners beyond {MAX_URLS} skipped",), found.notes)
        self.assertEqual(MAX_URLS, len(parse_listeners("a," * (MAX_URLS + 9)).notes))

    @given(
        st.text() | st.lists(st.sampled_from(["a", ":", "pulsar", "+ssl", "://", "[", "]", ",", "1", " "])).map("".join)
    )
    def test_anything(self, text: str) -> None:
        """Any text gives URLs with bounded, printable notes."""
        found = parse_listeners(text)
        self.assertTrue(all(note.isprintable() and len(note) < 1000 for note in found.notes))
        self.assertTrue(all(one.port is not None and 0 < one.port < 65536 for one in found.urls))
