"""Tests for sniproxy.pulsar.commands, commands.proto and the modules generated from it."""

import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.message import EncodeError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import sniproxy
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import (
    CommandError,
    error_name,
    feature_names,
    fields_of,
    number_name,
    opening,
    read,
    text,
    type_name,
    type_of,
    write,
)
from sniproxy.pulsar.frames import FrameReader, encode, read_section
from tests.pulsar.samples import CONNECT_JAVA, CONNECT_PYTHON
from tests.support import programs

ORDERS = "persistent://public/default/orders"

CONNECTED = "00000015 00000011 0803 1a0d 0a04 66616b65 1014 188080c002"
PARTITIONED_METADATA = (
    "0000002f 0000002b 0815 aa0126 0a22 70657273697374656e743a2f2f7075626c69632f64656661756c742f6f72646572731001"
)
LOOKUP_PYTHON = (
    "00000033 0000002f 0817 ba012a 0a22 70657273697374656e743a2f2f7075626c69632f64656661756c742f6f7264657273"
    "1002 1800 3a00"
)
LOOKUP_JAVA = (
    "00000039 00000035 0817 ba0130 0a22 70657273697374656e743a2f2f7075626c69632f64656661756c742f6f7264657273"
    "10e0c0fe9bddbfa98a1c 1800"
)
LOOKUP_RESPONSE = (
    "00000045 00000041 0818 c2013c 0a18 70756c7361723a2f2f3132372e302e302e313a3236363530"
    "1218 70756c7361723a2f2f3132372e302e302e313a3236363530 1801 2002 2801 4000"
)
SEND = "0000002a 00000008 0806 32 04 0800 1000 0e01 0830a93b 0000000f 0a04 66702d30 1000 18fbd1aec7a03468656c6c6f"


def command(vector: str) -> pb.BaseCommand:
    [frame] = FrameReader().feed(bytes.fromhex(vector))
    return read(frame.command)


class GoldenTests(SynchronousTestCase):
    """Recorded bytes are read, and written again byte for byte."""

    def test_connect(self) -> None:
        """CONNECT of the Python client and of the Java client, whose fields come in a different order."""
        for vector, version, protocol in (
            (CONNECT_PYTHON, "Pulsar-CPP-v4.2.0", 20),
            (CONNECT_JAVA, "Pulsar-Java-v4.2.4", 21),
        ):
            connect = command(vector).connect
            self.assertEqual(
                (connect.client_version, connect.protocol_version, connect.auth_method_name),
                (version, protocol, "token"),
            )

    def test_secrets_have_no_name(self) -> None:
        """A printed CONNECT does not show its token."""
        for vector in (CONNECT_PYTHON, CONNECT_JAVA):
            shown = str(command(vector)) + repr(command(vector))
            self.assertIn("Pulsar-", shown)
            self.assertNotIn("secret", shown)

    def test_connected(self) -> None:
        """CONNECTED has the size of the largest message."""
        self.assertEqual(command(CONNECTED).connected.max_message_size, 5242880)
        message = pb.CommandConnected(server_version="fake", protocol_version=20, max_message_size=5242880)
        self.assertEqual(write(message), bytes.fromhex(CONNECTED))

    def test_partitioned_metadata(self) -> None:
        """PARTITIONED_METADATA names a topic and a request."""
        message = pb.CommandPartitionedTopicMetadata(topic=ORDERS, request_id=1)
        self.assertEqual(command(PARTITIONED_METADATA).partitionMetadata, message)
        self.assertEqual(write(message), bytes.fromhex(PARTITIONED_METADATA))

    def test_lookup(self) -> None:
        """LOOKUP with and without an advertised listener."""
        message = pb.CommandLookupTopic(topic=ORDERS, request_id=2, authoritative=False, advertised_listener_name="")
        self.assertEqual(command(LOOKUP_PYTHON).lookupTopic, message)
        self.assertEqual(write(message), bytes.fromhex(LOOKUP_PYTHON))
        message = pb.CommandLookupTopic(topic=ORDERS, request_id=2023424642189860960, authoritative=False)
        self.assertEqual(command(LOOKUP_JAVA).lookupTopic, message)
        self.assertEqual(write(message), bytes.fromhex(LOOKUP_JAVA))

    def test_lookup_response(self) -> None:
        """LOOKUP_RESPONSE names the broker."""
        message = pb.CommandLookupTopicResponse(
            brokerServiceUrl="pulsar://127.0.0.1:26650",
            brokerServiceUrlTls="pulsar://127.0.0.1:26650",
            response=pb.CommandLookupTopicResponse.Connect,
            request_id=2,
            authoritative=True,
            proxy_through_service_url=False,
        )
        self.assertEqual(command(LOOKUP_RESPONSE).lookupTopicResponse, message)
        self.assertEqual(write(message), bytes.fromhex(LOOKUP_RESPONSE))

    def test_send(self) -> None:
        """SEND with its metadata and payload."""
        [frame] = FrameReader().feed(bytes.fromhex(SEND))
        self.assertEqual(read(frame.command).send, pb.CommandSend(producer_id=0, sequence_id=0))
        section = read_section(frame.section)
        about = pb.MessageMetadata.FromString(section.metadata)
        self.assertEqual((about.producer_name, about.sequence_id), ("fp-0", 0))
        self.assertEqual(section.payload, b"hello")
        message = pb.CommandSend(producer_id=0, sequence_id=0)
        self.assertEqual(write(message, frame.section), bytes.fromhex(SEND))


class CommandTests(SynchronousTestCase):
    """read and write."""

    def test_every_command(self) -> None:
        """The number of a command's field is the value of its type, and the field is required."""
        for field in pb.BaseCommand.DESCRIPTOR.fields[1:]:
            self.assertIn(field.number, pb.BaseCommand.Type.values())
            with self.assertRaises(CommandError):
                read(b"\x08" + bytes([field.number]))

    def test_all_types(self) -> None:
        """Every type has a field, and every field a type; undeclared fields are ignored."""
        fields = {field.number for field in pb.BaseCommand.DESCRIPTOR.fields[1:]}
        self.assertEqual(fields, set(pb.BaseCommand.Type.values()))
        self.assertEqual(len(fields), 71)
        self.assertEqual(type_name(read(bytes.fromhex("0814a20102 2801"))), "REDELIVER_UNACKNOWLEDGED_MESSAGES")

    def test_fields_of(self) -> None:
        """fields_of: the sub-message of a command."""
        self.assertEqual(fields_of(command(CONNECTED)).server_version, "fake")

    def test_opening(self) -> None:
        """opening: the first bytes of a command, as protobuf writes them, for any type and size."""
        for field in pb.BaseCommand.DESCRIPTOR.fields:
            if field.message_type is not None:
                base = pb.BaseCommand(type=pb.BaseCommand.Type.Name(field.number))
                getattr(base, field.name).SetInParent()
                command = base.SerializePartialToString()
                self.assertEqual(command, opening(field.number, len(command)))
        for length in (1, 127, 128, 16383, 16384, 1 << 20, 1 << 22):
            command = write(pb.CommandError(request_id=1, error=pb.UnknownError, message="e" * length))[8:]
            begin = opening(pb.BaseCommand.ERROR, len(command))
            self.assertTrue(begin is not None and command.startswith(begin) and len(begin) > 3)
        for kind, size in ((0, 2), (1, 2), (128, 2), (6, 1), (6, 3), (6, 132)):
            self.assertIsNone(opening(kind, size))

    def test_type_of(self) -> None:
        """The type that protobuf reads: the last known one of several."""
        ping = write(pb.CommandPing())[8:]
        for command in (ping, b"\x08\x06" + ping, ping[2:] + ping[:2], ping + b"\x08\x7f", b"\x08\x92\x00"):
            self.assertEqual(pb.BaseCommand.PING, type_of(command))
        for command in (b"", b"\x08", ping[2:], ping[:-1], b"\x08\x80\x01", b"\x0b"):
            self.assertRaises(CommandError, type_of, command)

    def test_number_name(self) -> None:
        """Names of known and unknown types by number."""
        self.assertEqual([number_name(at) for at in (23, 82, 83, 1, 0)], [
            *("LOOKUP", "SCALABLE_TOPIC_UNSUBSCRIBE", "TYPE_83", "TYPE_1", "TYPE_0")
        ])  # fmt: skip

    def test_no_credentials(self) -> None:
        """Fields with authentication data, keys or schemas are not declared."""
        declared = {
            (name, field.number, field.name)
            for name, message in pb.DESCRIPTOR.message_types_by_name.items()
            for field in message.fields
        }
        numbers = {(name, number) for name, number, _ in declared}
        for secret in (
            *(("CommandConnect", 3), ("CommandConnect", 8), ("CommandLookupTopic", 5), ("AuthData", 2)),
            *(("CommandPartitionedTopicMetadata", 4), ("MessageMetadata", 13), ("MessageMetadata", 15)),
            *(("CommandProducer", 7), ("CommandSubscribe", 12)),
        ):
            self.assertNotIn(secret, numbers)
        self.assertEqual([each for each in declared if "auth_data" in each[2]], [])

    def test_refused(self) -> None:
        """Invalid protobuf, no type, an unknown type, a missing field: each has its error."""
        for data, reason in (
            ("ff", "not a protobuf"),
            ("", "no type"),
            ("0863", "unknown type"),
            ("0817ba0100", "LOOKUP without a required field"),
            ("0817", "LOOKUP without a required field"),
        ):
            with self.assertRaisesRegex(CommandError, reason):
                read(bytes.fromhex(data))

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give a command or a CommandError."""
        try:
            type_name(read(data))
        except CommandError:
            pass

    def test_write(self) -> None:
        """A command is written with its type."""
        self.assertEqual(write(pb.CommandPing()), encode(bytes.fromhex("0812 9201 00")))

    def test_write_nothing_else(self) -> None:
        """A message that is not a command, or lacks a required field, is an error."""
        with self.assertRaises(KeyError):
            write(pb.MessageIdData(ledgerId=1, entryId=1))
        with self.assertRaises(EncodeError):
            write(pb.CommandFlow(consumer_id=1))


class ReadingTests(SynchronousTestCase):
    """Texts, names of errors and features."""

    def test_text(self) -> None:
        """A bounded text in printable ASCII, also if it is not UTF-8; None if absent."""
        for data, expected in (
            (b"\x0a\x03a\nb", "a\\nb"),
            (b"\x0a\x02\xc3\xbc", "\\xfc"),
            (b"\x0a\x02\xff\xfe", "\\xff\\xfe"),
            (b"\x0a\x00", ""),
            (b"\x0a\x7f" + b"t" * 127, "t" * 17 + "..."),
            (b"", None),
        ):
            self.assertEqual(
                text(pb.CommandLookupTopicResponse.FromString(b"\x20\x01" + data), "brokerServiceUrl", 20), expected
            )

    def test_error_name(self) -> None:
        """An error by name, an unknown one by number; None if there is none."""
        for data, expected in ((b"\x30\x06", "ServiceNotReady"), (b"\x30\x63", "ServerError 99"), (b"\x78\x01", None)):
            self.assertEqual(error_name(pb.CommandLookupTopicResponse.FromString(b"\x20\x01" + data)), expected)

    def test_unknown_values(self) -> None:
        """A command with values of a newer release is still readable."""
        self.assertEqual(error_name(read(bytes.fromhex("080e7204 0801101a")).error), "ServerError 26")
        self.assertEqual(read(bytes.fromhex("0844a20404 0801100a")).topicMigrated.resource_id, 1)

    def test_feature_names(self) -> None:
        """The supported features."""
        self.assertEqual(
            feature_names(command(CONNECT_PYTHON).connect.feature_flags), ["auth_refresh", "broker_entry_metadata"]
        )


class GeneratedTests(SynchronousTestCase):
    """commands_pb2.py and commands_pb2.pyi."""

    def test_repeatable(self) -> None:
        """Generating from commands.proto gives the committed files, byte for byte."""
        package = Path(sniproxy.__file__).parent
        committed = [package / "pulsar" / name for name in ("commands_pb2.py", "commands_pb2.pyi")]
        try:
            version = metadata.version("grpcio-tools")
        except metadata.PackageNotFoundError:
            version = "absent"
        if version != "1.78.2":
            raise SkipTest(f"needs grpcio-tools 1.78.2, which is {version}: pip install '.[dev]'")
        with TemporaryDirectory() as folder:
            programs.run(
                [
                    *(sys.executable, "-m", "grpc_tools.protoc", f"-I{package.parent}"),
                    *(f"--python_out={folder}", f"--pyi_out={folder}", "sniproxy/pulsar/commands.proto"),
                ],
                check=True,
            )
            for file in committed:
                made = Path(folder, "sniproxy", "pulsar", file.name).read_bytes()
                self.assertEqual(made, file.read_bytes(), f"{file.name} is stale: run `make proto`")
