"""Tests for sniproxy.conversation.player."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation import player as player_module
from sniproxy.conversation.comparison import Rules
from sniproxy.conversation.entry import ALL, describe
from sniproxy.conversation.player import Login, Player, needs_login
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.textform import Conversation, Side
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, type_name, write
from sniproxy.pulsar.frames import Frame, FrameReader, read_section
from tests.conversation.talk import TOPIC, conversation, frame, section, talk

WHOLE = Recording(keep=ALL)


def frames(bytes_of: list[tuple[Side, bytes]], side: Side) -> list[Frame]:
    """The frames of one side."""
    return [one for each, data in bytes_of if each == side for one in FrameReader().feed(data)]


def sent(player: Player) -> list[str]:
    """The commands that the player sends now."""
    commands = []
    while (one := player.outgoing()) is not None:
        commands.append(one.command)
    return commands


def run(player: Player, peer: list[Frame]) -> list[Frame]:
    """Let the peer send its frames one by one. @return: what the player sent."""
    out = []
    for one in [None, *peer]:
        if one is not None:
            player.receive(one)
        while (each := player.outgoing()) is not None:
            out.append(each.frame)
    return out


class PlayTests(SynchronousTestCase):
    """Player against the other side of the same conversation."""

    def player(self, played: Conversation, plays: Side = "broker", strict: bool = False, **more: Any) -> Player:
        return Player(played, plays, Rules(strict=strict), **more)

    def test_equal(self) -> None:
        """Each side of a conversation plays without a difference, also where payloads were struck out."""
        sides: list[tuple[Side, Side]] = [("broker", "client"), ("client", "broker")]
        for plays, peer in sides:
            for recording in (WHOLE, Recording()):
                player = self.player(conversation(talk(), recording), plays, strict=True)
                out = run(player, frames(talk(), peer))
                self.assertEqual([], player.differences)
                self.assertTrue(player.done)
                expected = [type_name(read(one.command)) for one in frames(talk(), plays)]
                self.assertEqual(
                    [name for name in expected if name not in ("PING", "PONG")],
                    [type_name(read(one.command)) for one in out],
                )

    def test_other_ids(self) -> None:
        """A peer with other ids and names gets answers with its own."""
        player = self.player(conversation(talk()))
        out = run(player, frames(talk(request=100, producer=50), "client"))
        self.assertEqual([], player.differences)
        receipt = fields_of(read(out[2].command))
        self.assertEqual((100, 50), (fields_of(read(out[1].command)).request_id, receipt.producer_id))
        client = self.player(conversation(talk()), "client")
        out = run(client, frames(talk(name="given", ledger=9), "broker"))
        self.assertEqual([], client.differences)
        metadata = pb.MessageMetadata.FromString(read_section(out[2].section).metadata)
        self.assertEqual("given", metadata.producer_name)

    def test_payload_comes_back(self) -> None:
        """A broker sends the payload that the client has sent, although the recording has only its hash."""
        back = pb.CommandMessage(consumer_id=1, message_id=pb.MessageIdData(ledgerId=42, entryId=0))
        bytes_of: list[tuple[Side, bytes]] = [*talk(), ("broker", write(back, section(b"hi")))]
        for held, expected in ((1 << 20, b"hi"), (1, bytes(2))):
            self.patch(player_module, "MAX_HELD_BYTES", held)
            player = self.player(conversation(bytes_of))
            out = run(player, frames(talk(), "client"))
            self.assertEqual([], player.differences)
            self.assertEqual(expected, bytes(read_section(out[-1].section).payload))

    def test_wrong_answer(self) -> None:
        """An answer to another request than the player has sent is a difference."""
        player = self.player(conversation(talk()), "client")
        run(player, frames(talk(request=8), "broker"))
        self.assertEqual("PRODUCER_SUCCESS request_id 7 8", self.first(player))

    def first(self, player: Player) -> str:
        one = player.differences[0]
        return f"{one.what} {one.path} {one.expected} {one.came}"

    def test_differences(self) -> None:
        """A changed field is a difference with its line, and the conversation goes on."""
        player = self.player(conversation(talk()))
        run(player, frames(talk(topic="persistent://a/b/c"), "client"))
        self.assertTrue(player.done)
        [difference] = player.differences
        self.assertEqual(
            f"t.jsonl:4: PRODUCER topic\n  expected: '{TOPIC}'\n  came:     'persistent://a/b/c'",
            difference.text("t.jsonl"),
        )
        payload = self.player(conversation(talk()))
        run(payload, frames(talk(payload=b"other"), "client"))
        self.assertEqual(["payload"], [each.path for each in payload.differences])

    def test_unexpected(self) -> None:
        """A frame that the recording does not have is a difference; so is one after the end."""
        player = self.player(conversation(talk()))
        ping = player.receive(frame(pb.CommandPing()))
        assert ping is not None
        self.assertEqual("PONG", type_name(read(ping.command)))
        self.assertIsNone(player.receive(frame(pb.CommandPong())))
        player.receive(frame(pb.CommandLookupTopic(topic="t", request_id=1)))
        [difference] = player.differences
        self.assertEqual(
            (2, "LOOKUP", "CONNECT of the client"), (difference.line, difference.what, difference.expected)
        )
        self.assertIn("(topic t)", difference.came)
        run(player, frames(talk(), "client"))
        player.receive(frame(pb.CommandFlow(consumer_id=1, messagePermits=1)))
        self.assertEqual(
            (2, "the end", None), (player.count, player.differences[1].expected, player.differences[1].line)
        )
        self.assertTrue(player.differences[1].text("f").startswith("f: FLOW\n"))

    def test_many(self) -> None:
        """All differences are counted, and the first are kept."""
        self.patch(player_module, "MAX_DIFFERENCES", 2)
        player = self.player(conversation(talk()))
        for _ in range(5):
            player.receive(frame(pb.CommandFlow(consumer_id=1, messagePermits=1)))
        self.assertEqual((5, 2), (player.count, len(player.differences)))

    def test_order(self) -> None:
        """Frames that are due may come in another order, which is a difference only if the comparison is strict."""
        both = [pb.CommandProducer(topic=each, producer_id=at, request_id=at) for at, each in enumerate("ab")]
        commands: list[Message] = [*both, pb.CommandFlow(consumer_id=1, messagePermits=1)]
        played = conversation(
            [*(("client", write(each)) for each in commands), ("broker", write(pb.CommandSuccess(request_id=1)))]
        )
        for strict in (False, True):
            player = self.player(played, strict=strict)
            for one in (commands[2], commands[1]):
                player.receive(frame(one))
                self.assertIsNone(player.outgoing())
            player.receive(frame(commands[0]))
            self.assertEqual(["SUCCESS"], sent(player))
            self.assertEqual(2 * strict, player.count)

    def test_look_ahead(self) -> None:
        """Only the next recorded frames are considered."""
        self.patch(player_module, "LOOK_AHEAD", 2)
        player = self.player(conversation(talk()))
        player.receive(frames(talk(), "client")[-1])
        self.assertEqual("CLOSE_PRODUCER", player.differences[0].what)

    def test_early_end(self) -> None:
        """A peer that closes, waits or sends other bytes leaves the recording unfinished."""
        player = self.player(conversation(talk()))
        run(player, frames(talk(), "client")[:2])
        awaited = player.awaited
        assert awaited is not None
        self.assertEqual("SEND", awaited.entry["command"])
        player.timed_out(5.0)
        player.unreadable("no frame\n")
        player.closed("reset")
        texts = [each.came for each in player.differences]
        self.assertEqual("nothing within 5 s", texts[0])
        self.assertEqual("not Pulsar: no frame\\n", texts[1])
        self.assertEqual("the client closed the connection (reset); 4 recorded frames are left", texts[2])
        done = self.player(conversation(talk()))
        run(done, frames(talk(), "client"))
        done.closed()
        done.timed_out(1.0)
        self.assertEqual([], done.differences)
        done.unreadable("x")
        self.assertIsNone(done.differences[0].line)

    def test_closed_before_own(self) -> None:
        """A peer that closes before the player's frame went out is a difference."""
        player = self.player(conversation(talk()))
        player.receive(frames(talk(), "client")[0])
        player.closed()
        self.assertEqual("CONNECTED of the broker", player.differences[0].expected)

    def test_times(self) -> None:
        """Each outgoing frame has its recorded distance from the one before."""
        player = self.player(conversation(talk()))
        player.receive(frames(talk(), "client")[0])
        one = player.outgoing()
        assert one is not None
        self.assertEqual(0.25, one.wait_s)
        client = self.player(conversation(talk()), "client")
        first = client.outgoing()
        assert first is not None
        self.assertEqual(0.0, first.wait_s)

    def test_url(self) -> None:
        """A client gets the URLs of this run, unless it stays with its address and names the broker there."""
        for proxied, url in ((False, "here pulsar://b:1"), (True, "pulsar://b:1")):
            answer = pb.CommandLookupTopicResponse(
                request_id=1, brokerServiceUrl="pulsar://b:1", proxy_through_service_url=proxied
            )
            one = self.player(conversation([("broker", write(answer))]), url_here=lambda url: f"here {url}").outgoing()
            assert one is not None
            self.assertEqual(url, fields_of(read(one.frame.command)).brokerServiceUrl)


class LoginTests(SynchronousTestCase):
    """Credentials of a client."""

    def test_login(self) -> None:
        """Given credentials take the place of recorded ones, and of nothing else."""
        connect = pb.CommandConnect(client_version="x", auth_method_name="token")
        connect.MergeFromString(b"\x1a\x03abc\x42\x01z")
        played = conversation(
            [("client", write(connect)), ("client", write(pb.CommandFlow(consumer_id=1, messagePermits=1)))]
        )
        self.assertTrue(needs_login(played))
        self.assertFalse(needs_login(conversation(talk())))
        player = Player(played, "client", Rules(), login=Login("token", b"new"))
        one, two = player.outgoing(), player.outgoing()
        assert one is not None and two is not None
        fields = describe(one.frame)["fields"]
        self.assertEqual({"client_version": "x", "auth_method_name": "token", "auth_data": {"base64": "bmV3"}}, fields)
        self.assertEqual("FLOW", two.command)
        self.assertNotIn("new", repr(Login("token", b"new")))
