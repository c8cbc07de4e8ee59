"""Tests for sniproxy.server.upgrade.predecessor."""

from __future__ import annotations

import os
import socket

from twisted.internet.defer import DeferredQueue
from twisted.logger import capturedLogs, formatEvent

from sniproxy.net.reuseport import SocketKeeper
from sniproxy.server.upgrade import messages, predecessor
from sniproxy.server.upgrade.channel import socket_pair
from sniproxy.server.upgrade.messages import (
    Aborted,
    Commit,
    Committed,
    Drain,
    Inherited,
    Message,
    Offer,
    Offered,
    Ready,
    Refused,
    Socket,
    Took,
)
from sniproxy.server.upgrade.predecessor import NoOffer, Predecessor, read_offer
from sniproxy.server.upgrade.program import CHANNEL
from tests.support.reactor import reactor
from tests.support.sockets import in_thread
from tests.support.upgrading import ChannelCase, tunnel

OFFER = Offer(messages.VERSIONS, "9.9", 77, 3)


class Keeper:
    """A L{SocketKeeper}. @ivar calls: of its methods."""

    def __init__(self, kept: socket.socket | None = None) -> None:
        self.kept = kept
        self.calls: list[str] = []

    def take(self, endpoint: str) -> socket.socket | None:
        return self.kept

    def keep(self, endpoint: str, sock: socket.socket) -> None:
        self.calls.append(f"keep {endpoint}")

    def forget(self, endpoint: str) -> None:
        self.calls.append(f"forget {endpoint}")

    def forget_rest(self) -> None:
        self.calls.append("forget rest")


class OfferCase(ChannelCase):
    """The test is the old process."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(predecessor, "end_capture", self.end_capture)
        self.captured = True

    def end_capture(self, standard_error: int) -> None:
        os.close(standard_error)
        self.captured = False

    def read(self, *said: Message, keeper: SocketKeeper | None = None) -> Predecessor | None:
        """Read an offer. @param said: by the old process."""
        for message in said:
            self.say(message, *([self.theirs] if isinstance(message, Socket) else []))
        self.error = os.open(os.devnull, os.O_WRONLY)
        number = os.dup(self.ours.fileno())
        return read_offer(keeper, {CHANNEL: f"{number}:{self.error}"})

    def predecessor(self, *sockets: Socket, keeper: SocketKeeper | None = None) -> Predecessor:
        """The predecessor that offers these sockets."""
        found = self.read(OFFER, *sockets, Offered(), keeper=keeper)
        assert found is not None
        self.ours.close()

        def close() -> None:
            if found._sock.fileno() != -1:
                found._sock.close()
            if self.captured:
                os.close(self.error)
            found.forget_rest()

        self.addCleanup(close)
        return found


class ReadTests(OfferCase):
    """read_offer."""

    async def refused(self, why: str, *said: Message) -> None:
        """The offer cannot be taken; the old process knows why."""
        error = self.assertRaises(NoOffer, self.read, *said)
        os.close(self.error)
        self.assertIn(why, str(error))
        answer = await self.heard()
        assert isinstance(answer, Refused)
        self.assertIn(why, answer.why)

    def test_none(self) -> None:
        """No upgrade has started this process."""
        self.assertIsNone(read_offer(None, {}))

    def test_variable(self) -> None:
        """The variable may have another origin: that is an error with a cure, not a traceback."""
        for value in ("", "x", "1", "1:2:3", "98765:98766", "-1:-1"):
            error = self.assertRaises(NoOffer, read_offer, None, {CHANNEL: value})
            self.assertIn("SNIPROXY_UPGRADE: no upgrade has set this environment variable; unset it", str(error))

    async def test_version(self) -> None:
        """Without a common version, the reason says what each side speaks, and the cure."""
        self.patch(messages, "VERSIONS", (1, 2))
        why = (
            "this program speaks version 1 or 2 of the upgrade protocol, the running sniproxy 9.9 speaks 7, 8; restart"
        )
        await self.refused(why, Offer((7, 8), "9.9", 1, 2))
        await self.refused("speaks none; restart instead", Offer((), "9.9", 1, 2))

    def test_best_version(self) -> None:
        """The best common version is spoken."""
        self.patch(messages, "VERSIONS", (3, 2, 1))
        found = self.read(Offer((1, 2, 4), "9.9", 77, 3), Offered())
        assert found is not None
        self.assertEqual(2, found._version)
        found._sock.close()
        os.close(self.error)

    async def test_other_message(self) -> None:
        """An offer begins with the offer, and has sockets only."""
        for said in ([Offered()], [Commit(())], [OFFER, Took(1)]):
            await self.refused("the old process makes no offer", *said)

    async def test_no_descriptor(self) -> None:
        """A socket without its descriptor is none: too few files may be opened."""
        self.say(OFFER)
        self.say(Socket(0, "tcp:1"))
        await self.refused("the old process makes no offer")

    def test_ended(self) -> None:
        """The old process has ended."""
        self.say(OFFER)
        self.theirs.close()
        error = self.assertRaises(NoOffer, self.read)
        os.close(self.error)
        self.assertEqual("upgrade: the old process has ended", str(error))

    async def test_silent(self) -> None:
        """The old process says nothing."""
        self.patch(predecessor, "OFFER_TIMEOUT_S", 0.01)
        await self.refused("timed out", OFFER)

    async def test_refuse(self) -> None:
        """The program cannot start for another reason."""
        found = self.predecessor()
        found.refuse("x.toml: bad")
        self.assertEqual(Refused("x.toml: bad"), await self.heard())
        self.theirs.close()
        found.refuse("again")


class PassedOnTests(OfferCase):
    """A supervisor passes the offer on to its first worker."""

    async def test_passed_on(self) -> None:
        """The worker has the offer without the admin endpoint, and the channel; it names the supervisor."""
        found = self.predecessor(Socket(0, "tcp:1"), Socket(1, "unix:/a", True))
        admin = found.take_admin("unix:/a")
        assert admin is not None
        admin.close()
        ours, theirs = socket_pair()
        error = os.open(os.devnull, os.O_WRONLY)
        found.pass_on(reactor, ours)
        with theirs:
            worker = await in_thread(read_offer, None, {CHANNEL: f"{os.dup(theirs.fileno())}:{error}"})
        assert worker is not None
        self.assertEqual(["tcp:1"], [told.endpoint for told, _ in worker._sockets])
        sock = worker.take("tcp:1")
        assert sock is not None
        sock.close()
        found.finish()
        found.close()
        worker._pid = 4711
        receiver = worker.begin(reactor, *[lambda *given: None] * 5)
        self.assertEqual(Ready(messages.VERSIONS[0], 4711, (1, 0)), await self.heard())
        receiver.close()
        worker.refuse("too late")
        worker.close()
        os.close(error)

    async def test_supervisor(self) -> None:
        """The process of the supervisor comes with the channel."""
        self.say(OFFER)
        self.say(Offered(4711), self.theirs)
        found = self.read()
        os.close(self.error)
        assert found is not None
        self.assertEqual(4711, found._pid)
        found.close()


class KeeperTests(OfferCase):
    """A predecessor keeps listening sockets."""

    def test_take(self) -> None:
        """Each socket is taken once, by the text of its endpoint; one of the admin endpoint by that only."""
        found = self.predecessor(Socket(0, "tcp:1"), Socket(1, "tcp:1", True), Socket(2, "tcp:2"))
        self.assertIsNone(found.take("tcp:9"))
        self.assertIsNone(found.take_admin("tcp:2"))
        for sock in (found.take("tcp:1"), found.take_admin("tcp:1")):
            assert sock is not None
            sock.close()
        self.assertIsNone(found.take("tcp:1"))
        self.assertEqual([0, 1], found._taken)
        self.assertEqual(1, len(found._sockets))
        found.forget_rest()
        self.assertEqual([], found._sockets)

    def test_alone(self) -> None:
        """Nothing keeps sockets for a later process."""
        found = self.predecessor()
        found.keep("tcp:1", self.theirs)
        found.forget("tcp:1")
        self.assertIsNone(found.take("tcp:1"))

    def test_other_keeper(self) -> None:
        """Another keeper has what the old process has not, and keeps this process's sockets."""
        keeper = Keeper(self.theirs)
        found = self.predecessor(keeper=keeper)
        self.assertIs(self.theirs, found.take("tcp:1"))
        found.keep("tcp:1", self.theirs)
        found.forget("tcp:1")
        found.forget_rest()
        self.assertEqual(["keep tcp:1", "forget tcp:1", "forget rest"], keeper.calls)


class BeginTests(OfferCase):
    """Predecessor.begin: the upgrade, as the new process sees it."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.events: DeferredQueue[object] = DeferredQueue()

    async def begin(self, *sockets: Socket) -> None:
        found = self.predecessor(*sockets)
        for one in sockets:
            sock = found.take(one.endpoint)
            assert sock is not None
            sock.close()
        self.receiver = found.begin(
            reactor, lambda message, record, target, state: self.adopted(state.client, state.target), self.events.put,
            lambda: self.events.put("in charge"), lambda: self.events.put("abort"), self.inherit,
        )  # fmt: skip
        self.addCleanup(self.receiver.close)
        self.assertEqual(Ready(3, os.getpid(), tuple(one.number for one in sockets)), await self.heard())

    async def in_charge(self, commit: Commit | None) -> None:
        """This process accepts, then is in charge."""
        self.assertEqual(commit, await self.events.get())
        self.assertEqual("in charge", await self.events.get())

    def adopted(self, *sockets: socket.socket) -> None:
        for sock in sockets:
            sock.close()
        self.events.put("adopt")

    def inherit(self, message: Inherited, sock: socket.socket) -> None:
        sock.close()
        self.events.put(message)

    async def test_commit(self) -> None:
        """Tunnels come, then the commit, which is answered when connections are accepted."""
        with capturedLogs() as logs:
            await self.begin(Socket(4, "tcp:1"), Socket(7, "tcp:2"))
            self.assertEqual((77, 3), (self.receiver.old.pid, self.receiver.old.tunnels))
            self.say_tunnel(tunnel(1))
            self.assertEqual("adopt", await self.events.get())
            self.assertEqual(Took(1), await self.heard())
            self.assertTrue(self.captured)
            commit = Commit((Drain("h:1", 1.0),))
            self.say(commit)
            self.assertEqual(commit, await self.events.get())
            self.assertEqual("in charge", await self.events.get())
            self.assertEqual(Committed(), await self.heard())
        self.assertFalse(self.captured)
        self.assertIn("took over from process 77: 1 tunnel", [formatEvent(event) for event in logs])

    async def test_later(self) -> None:
        """Tunnels come after the commit, too; the end of the old process is then no failure."""
        await self.begin()
        self.say(Commit(()))
        await self.in_charge(Commit(()))
        self.assertEqual(Committed(), await self.heard())
        self.say_tunnel(tunnel(1))
        self.assertEqual("adopt", await self.events.get())
        self.theirs.close()
        while self.receiver.open:
            await in_thread(int)
        self.assertEqual([], self.events.pending)

    async def test_old_ended(self) -> None:
        """If the old process ends before the commit, this one is in charge."""
        await self.begin()
        self.theirs.close()
        await self.in_charge(None)
        self.assertFalse(self.captured)

    async def test_aborted(self) -> None:
        """If the old process continues, this one is not in charge, whatever follows."""
        await self.begin()
        self.say(Aborted())
        self.assertEqual("abort", await self.events.get())
        self.assertFalse(self.captured)
        self.say(Aborted())
        self.theirs.close()
        while self.receiver.open:
            await in_thread(int)
        self.assertEqual([], self.events.pending)

    async def test_aborted_commit(self) -> None:
        """This process reads the commit late, after the old one has given up: it is not in charge."""
        await self.begin()
        self.say(Commit(()))
        self.say(Aborted())
        self.assertEqual("abort", await self.events.get())
        await in_thread(int)
        self.assertEqual([], self.events.pending)

    async def test_aborted_late(self) -> None:
        """If the old process has given up when this one has begun to accept, this one is not in charge."""
        await self.begin()
        self.say(Commit(()))
        self.theirs.shutdown(socket.SHUT_RD)
        self.assertEqual(Commit(()), await self.events.get())
        await in_thread(int)
        self.assertEqual(([], True), (self.events.pending, self.captured))
        self.say(Aborted())
        self.assertEqual("abort", await self.events.get())
        self.assertFalse(self.captured)

    async def test_old_ended_late(self) -> None:
        """If the old process has given up and then ends before it says so, this one is in charge."""
        await self.begin()
        self.say(Commit(()))
        self.theirs.shutdown(socket.SHUT_RD)
        self.assertEqual(Commit(()), await self.events.get())
        self.theirs.close()
        self.assertEqual("in charge", await self.events.get())
        self.assertEqual([], self.events.pending)

    async def test_unexpected(self) -> None:
        """An old process that fails to keep to the protocol lives: this one is not in charge."""
        await self.begin()
        self.say(Committed())
        self.assertEqual("abort", await self.events.get())
        self.assertIsNone(await self.heard())

    async def test_second_commit(self) -> None:
        """After a second commit no tunnels are taken."""
        await self.begin()
        self.say(Commit(()))
        await self.in_charge(Commit(()))
        self.assertEqual(Committed(), await self.heard())
        self.say(Commit(()))
        self.assertIsNone(await self.heard())
        self.assertEqual((False, []), (self.receiver.open, self.events.pending))

    async def test_inherit(self) -> None:
        """Older processes come with a channel to each; one without its descriptor is left out."""
        await self.begin()
        message = Inherited(1, 5, 6, None)
        self.say(message)
        self.say(message, self.theirs)
        self.assertEqual(message, await self.events.get())
        self.say(Commit(()))
        await self.in_charge(Commit(()))
