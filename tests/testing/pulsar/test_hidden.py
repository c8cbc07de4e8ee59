"""Tests for sniproxy.testing.pulsar.hidden."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.logins import by_token
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of, has, ids_of, number_of, require_texts


class HiddenTests(SynchronousTestCase):
    """Fields by their numbers."""

    def test_token(self) -> None:
        """The credentials of CONNECT are read; without any there are none."""
        self.assertEqual(b"secret", bytes_of(by_token("secret").connect(), 3))
        self.assertIsNone(bytes_of(pb.CommandConnect(client_version="x"), 3))

    def test_known_fields(self) -> None:
        """Fields that the definition names are read, too."""
        seek = pb.CommandSeek(consumer_id=7, request_id=1)
        self.assertEqual((7, True, False), (number_of(seek, 1, 0), has(seek, 1), has(seek, 3)))

    def test_last(self) -> None:
        """The last value of a field counts; one of another type is skipped."""
        seek = pb.CommandSeek(consumer_id=7, request_id=1)
        for data in (b"one", b"two"):
            add_bytes(seek, 4, data)
        self.assertEqual((b"two", 5), (bytes_of(seek, 4), number_of(seek, 4, 5)))

    def test_ids(self) -> None:
        """Message ids are read in order."""
        seek = pb.CommandSeek(consumer_id=7, request_id=1)
        places = [pb.MessageIdData(ledgerId=1, entryId=entry) for entry in (3, 4)]
        for place in places:
            add_bytes(seek, 3, place.SerializeToString())
        self.assertEqual(places, ids_of(seek, 3))

    def test_texts(self) -> None:
        """Texts that are not UTF-8 are an error of the command, also those in messages in it."""
        good = pb.CommandSubscribe(topic="\u00e9", subscription="s", consumer_id=1, request_id=2)
        good.metadata.add(key="k", value="v")
        require_texts(good)
        for bad in (b"\x32\x01\xff", b"\x52\x03\x0a\x01\xff"):
            message = pb.CommandSubscribe.FromString(good.SerializeToString() + bad)
            self.assertRaises(CommandError, require_texts, message)

    @given(st.binary(max_size=20))
    def test_any_id(self, data: bytes) -> None:
        """Bytes that are no message id are an error of the command."""
        seek = pb.CommandSeek(consumer_id=7, request_id=1)
        add_bytes(seek, 3, data)
        try:
            self.assertEqual(1, len(ids_of(seek, 3)))
        except CommandError:
            pass

    def test_no_id(self) -> None:
        """A message id without an entry is an error of the command."""
        seek = pb.CommandSeek(consumer_id=7, request_id=1)
        add_bytes(seek, 3, b"\x08\x01")
        self.assertRaises(CommandError, ids_of, seek, 3)
