//! The relay's contract over loopback connections, in the test's own thread and by a clock of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::RwLockReadGuard;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::sys::{ECONNRESET, IN, fault};
use crate::testing::*;
use crate::tunnel::{Deadlines, MAX_TURN_BYTES};

const MEBI: usize = 1 << 20;

struct Rig {
    relay: Relay,
    endings: Arc<Mailbox<Ending>>,
    pipes: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    now: u64,
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

impl Rig {
    fn new() -> Self {
        let guard = among_others();
        let mut rig = Self::alone();
        rig._shared = Some(guard);
        rig
    }

    fn alone() -> Self {
        fault::clear();
        let (endings, held, pipes) = (Arc::new(Mailbox::new().unwrap()), Arc::default(), Arc::default());
        let silence = Silence { user_timeout: 120_000, probes: 4 };
        let relay = Relay::new(Arc::clone(&endings), silence, Arc::clone(&held), Arc::clone(&pipes)).unwrap();
        Self { relay, endings, pipes, held, now: 1000, _shared: None }
    }

    /// Adds a tunnel. @return: the far ends of client and target.
    fn open(&mut self, head: &[u8], deadlines: Deadlines) -> (TcpStream, TcpStream, Arc<Shared>) {
        self.open_with(pair, head, deadlines)
    }

    fn open_with(
        &mut self,
        pair: fn() -> (TcpStream, OwnedFd),
        head: &[u8],
        deadlines: Deadlines,
    ) -> (TcpStream, TcpStream, Arc<Shared>) {
        let ((client, ours_client), (target, ours_target)) = (pair(), pair());
        let (tunnel, shared) = tunnel(ours_client, ours_target, head, deadlines);
        self.put(Command::Add(tunnel));
        (client, target, shared)
    }

    fn put(&mut self, command: Command) {
        if matches!(command, Command::Add(_)) {
            self.relay.inbox.tunnels.fetch_add(1, Relaxed);
        }
        assert!(self.relay.inbox.commands.put(command).is_ok());
        self.turn();
    }

    /// Serves what is ready now.
    fn turn(&mut self) {
        let count = self.relay.epoll.wait(&mut self.relay.events[..], 0);
        assert!(self.relay.turn(count, self.now));
    }

    /// Serves until nothing is ready.
    fn settle(&mut self) {
        loop {
            let count = self.relay.epoll.wait(&mut self.relay.events[..], 0);
            if count == 0 && self.relay.context.again.is_empty() {
                return;
            }
            assert!(self.relay.turn(count, self.now));
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            let count = self.relay.epoll.wait(&mut self.relay.events[..], 5);
            assert!(self.relay.turn(count, self.now));
        }
        panic!("nothing happens any more");
    }

    fn advance(&mut self, milliseconds: u64) {
        self.settle();
        self.now += milliseconds;
        self.turn();
    }

    fn ending(&mut self) -> Ending {
        self.until(|rig| rig.relay.inbox.tunnels.load(Relaxed) == 0);
        let mut endings = self.endings.take();
        assert_eq!(endings.len(), 1);
        endings.pop().unwrap()
    }

    /// Reads from one far end while the relay runs. @return: the bytes before the end, or the reset.
    fn read_to_end(&mut self, far: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        far.set_nonblocking(true).unwrap();
        loop {
            let mut part = vec![0; 100_000];
            match far.read(&mut part) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.until_ready(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn until_ready(&mut self) {
        let count = self.relay.epoll.wait(&mut self.relay.events[..], 1);
        assert!(self.relay.turn(count, self.now));
    }

    /// Sends to a far end until neither the kernel nor the relay takes more. @return: bytes sent.
    fn fill(&mut self, far: &mut TcpStream, bytes: &[u8]) -> usize {
        let (mut sent, mut stalled) = (0, 0);
        while stalled < 20 {
            let count = send_some(far, &bytes[sent..]);
            stalled = if count > 0 { 0 } else { stalled + 1 };
            sent += count;
            self.until_ready();
        }
        assert!(sent < bytes.len());
        sent
    }

    fn idle_descriptors(&self) -> usize {
        2 * self.pipes.load(Relaxed)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        fault::clear();
        self.relay.close(false);
        if !std::thread::panicking() {
            assert_eq!((self.held.load(Relaxed), self.pipes.load(Relaxed)), (0, 0));
        }
    }
}

fn moved(shared: &Shared) -> (u64, u64) {
    (shared.moved[CLIENT].load(Relaxed), shared.moved[TARGET].load(Relaxed))
}

fn is_reset(far: &mut TcpStream) -> bool {
    matches!(far.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn passes_bytes_both_ways_and_those_read_before_first() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open(b"hello ", NO_DEADLINES);
    client.write_all(b"world").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut target, 11), b"hello world");
    target.write_all(b"answer").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    assert_eq!(moved(&shared), (11, 6));
    drop((client, target));
    let ending = rig.ending();
    assert_eq!((ending.key, ending.kind, ending.errno, ending.moved), (7, Kind::Ok, 0, [11, 6]));
    assert!(ending.sides.iter().all(Option::is_none));
}

#[test]
fn a_small_message_is_one_read_and_one_write() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    fault::inject("recv", ECONNRESET, 1, 1); // a second read would fail
    fault::inject("send", ECONNRESET, 1, 1);
    client.write_all(b"x").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut target, 1), b"x");
}

#[test]
fn each_side_may_end_first() {
    for first in [CLIENT, TARGET] {
        let mut rig = Rig::new();
        let (client, target, shared) = rig.open(b"", NO_DEADLINES);
        let (mut early, mut late) = if first == CLIENT { (client, target) } else { (target, client) };
        early.write_all(b"question").unwrap();
        early.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.read_to_end(&mut late), b"question");
        assert_eq!(shared.ended.load(Relaxed), 1 << first);
        let answer = noise(3 * MEBI);
        let sending = std::thread::spawn({
            let answer = answer.clone();
            move || late.write_all(&answer).unwrap()
        });
        assert!(rig.read_to_end(&mut early) == answer);
        sending.join().unwrap();
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::Ok, first as u8 + 1));
    }
}

#[test]
fn both_sides_may_have_ended_before() {
    let mut rig = Rig::new();
    let ((client, ours_client), (target, ours_target)) = (pair(), pair());
    drop((client, target));
    let (tunnel, _) = tunnel(ours_client, ours_target, b"", NO_DEADLINES);
    rig.put(Command::Add(tunnel));
    assert_eq!(rig.ending().kind, Kind::Ok);
}

#[test]
fn a_full_side_stops_the_other_one_and_loses_nothing() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    let bytes = noise(16 * MEBI);
    let sent = rig.fill(&mut client, &bytes);
    assert!(sent < 3 * MEBI);
    assert_eq!(shared.blocked.load(Relaxed), 1);
    assert!((1..=MEBI).contains(&rig.held.load(Relaxed)));
    target.write_all(b"answer").unwrap(); // the other direction goes on
    rig.settle();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    let sending = std::thread::spawn({
        let rest = bytes[sent..].to_vec();
        move || {
            client.write_all(&rest).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        }
    });
    assert!(rig.read_to_end(&mut target) == bytes);
    assert_eq!((shared.blocked.load(Relaxed), rig.held.load(Relaxed)), (0, 0));
    drop((sending.join().unwrap(), target));
    assert_eq!(rig.ending().kind, Kind::Ok);
}

#[test]
fn passes_on_a_reset() {
    for broken in [CLIENT, TARGET] {
        let mut rig = Rig::new();
        let (client, target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        let (far, mut other) = if broken == CLIENT { (client, target) } else { (target, client) };
        reset(far);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, ECONNRESET, broken as u8 + 1));
        assert!(ending.sides.iter().all(Option::is_none));
        assert!(is_reset(&mut other));
    }
}

#[test]
fn passes_on_the_last_bytes_before_a_reset() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    client.write_all(b"never read").unwrap();
    rig.settle();
    target.write_all(b"alert").unwrap();
    drop(target); // with unread bytes: a reset
    client.write_all(b"more").unwrap();
    assert_eq!(rig.ending().kind, Kind::Reset);
    assert_eq!(read_exactly(&mut client, 5), b"alert");
}

#[test]
fn a_failed_write_passes_on_what_its_side_sent_before() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    target.write_all(b"alert").unwrap();
    client.write_all(b"x").unwrap();
    let count = rig.relay.epoll.wait(&mut rig.relay.events[..], 1000);
    let token = rig.relay.tunnels.iter_from(0).next().unwrap().0;
    rig.relay.events[0] = Event { events: IN, u64: token }; // the client first
    fault::inject("send", libc::EPIPE, 0, 1);
    rig.relay.turn(count.min(1), rig.now);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, libc::EPIPE, 2));
    assert_eq!(read_exactly(&mut client, 5), b"alert");
}

#[test]
fn sees_the_reset_of_a_side_that_is_not_read() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    rig.fill(&mut client, &noise(16 * MEBI));
    reset(client);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Reset, 1));
    let mut bytes = Vec::new();
    assert_eq!(target.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn sees_the_reset_of_a_full_side() {
    let mut rig = Rig::new();
    let (mut client, target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    rig.fill(&mut client, &noise(16 * MEBI));
    reset(target);
    assert_eq!((rig.ending().kind, is_reset(&mut client)), (Kind::Reset, true));
}

#[test]
fn a_reset_after_the_end_takes_nothing_back() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    let answer = noise(50_000);
    target.write_all(&answer).unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    rig.settle();
    let got = read_exactly(&mut client, answer.len() - 1);
    reset(target);
    client.write_all(b"more").unwrap();
    let mut ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Reset, 2));
    assert!(ending.sides[TARGET].is_none());
    let ours = ending.sides[CLIENT].take().expect("returned for a lingering close");
    sys::end_writing(ours.as_fd());
    assert_eq!(rig.read_to_end(&mut client), &answer[got.len()..]);
    assert!(got == answer[..got.len()]);
}

#[test]
fn an_end_behind_bytes_for_a_slow_reader_is_no_reset() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.read_to_end(&mut target), b"");
    let bytes = noise(8 * MEBI);
    let sent = rig.fill(&mut target, &bytes);
    drop(target);
    rig.settle();
    assert_eq!(rig.endings.take().len(), 0);
    assert!(rig.read_to_end(&mut client) == bytes[..sent]);
    assert_eq!(rig.ending().kind, Kind::Ok);
}

#[test]
fn ends_an_idle_tunnel() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", Deadlines { idle: 10_000, half_closed: 60_000 });
    assert_eq!(rig.relay.timeout(rig.now), 10_000);
    rig.advance(9_000);
    client.write_all(b"x").unwrap();
    rig.advance(9_000);
    assert_eq!(rig.endings.take().len(), 0);
    assert_eq!(read_exactly(&mut target, 1), b"x");
    rig.advance(1_000 + SWEEP_INTERVAL_MS);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Idle, 0));
    assert!(ending.sides.iter().all(Option::is_some));
}

#[test]
fn a_half_closed_tunnel_has_a_deadline_of_its_own() {
    for idle in [0, 300_000] {
        let mut rig = Rig::new();
        let (client, mut target, _) = rig.open(b"", Deadlines { idle, half_closed: 5_000 });
        rig.advance(60_000); // a silence before the end does not count
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.read_to_end(&mut target), b"");
        rig.advance(4_000);
        target.write_all(b"x").unwrap();
        rig.advance(4_000);
        assert_eq!(rig.endings.take().len(), 0);
        rig.advance(1_000 + SWEEP_INTERVAL_MS);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::Idle, 1));
    }
}

#[test]
fn many_deadlines_are_looked_at_together() {
    let mut rig = Rig::new();
    let far: Vec<_> = (0..20).map(|number| rig.open(b"", Deadlines { idle: 1000 + number, half_closed: 1 })).collect();
    rig.advance(1000);
    assert_eq!(rig.endings.take().len(), 1);
    assert_eq!(rig.relay.timeout(rig.now), SWEEP_INTERVAL_MS as i32);
    rig.advance(SWEEP_INTERVAL_MS);
    assert_eq!(rig.endings.take().len(), far.len() - 1);
}

#[test]
fn a_silent_tunnel_without_deadlines_wakes_nothing_but_the_check() {
    let mut rig = Rig::new();
    let (client, target, _) = rig.open(b"", NO_DEADLINES);
    assert_eq!(rig.relay.timeout(rig.now), CHECK_INTERVAL_MS as i32);
    drop((client, target));
    rig.ending();
    rig.advance(CHECK_INTERVAL_MS);
    assert!(!(0..=CHECK_INTERVAL_MS as i32).contains(&rig.relay.timeout(rig.now)));
}

#[test]
fn ends_on_request_behind_what_has_room() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    let bytes = noise(8 * MEBI);
    rig.fill(&mut client, &bytes);
    let before = moved(&shared).0 as usize;
    let mut got = read_exactly(&mut target, before); // without a turn of the relay
    rig.put(Command::End(Arc::clone(&shared)));
    let ending = rig.ending();
    assert_eq!((ending.kind, shared.blocked.load(Relaxed)), (Kind::Ended, 0));
    let after = ending.moved[CLIENT] as usize;
    assert!(after > before);
    drop(ending);
    let mut rest = Vec::new();
    let _ = target.read_to_end(&mut rest); // then the reset, for unread bytes were in our sockets
    got.extend(rest);
    assert!(got[..before] == bytes[..before] && got.len() <= after);
    rig.put(Command::End(shared)); // it has ended
    assert_eq!(rig.endings.take().len(), 0);
}

#[test]
fn gives_back_the_sockets_and_all_bytes() {
    for pieces in [1, 8] {
        // one piece is copied, bulk is spliced
        let mut rig = Rig::new();
        let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
        let bytes = noise(pieces * 2 * MEBI);
        let mut sent = rig.fill(&mut client, &bytes);
        target.write_all(b"down").unwrap();
        target.shutdown(Shutdown::Write).unwrap();
        rig.settle();
        rig.put(Command::GiveBack(Arc::clone(&shared)));
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::GivenBack, 2));
        let [Some(ours_client), Some(ours_target)] = ending.sides else { panic!("closed") };
        assert_eq!(ending.moved[TARGET], 4);
        // The rest crosses without the relay.
        let mut got = read_exactly(&mut target, ending.moved[CLIENT] as usize);
        got.extend(&ending.held[CLIENT]);
        assert!(ending.held[TARGET].is_empty() && !ending.held[CLIENT].is_empty());
        let mut part = vec![0; 65536];
        while got.len() < sent {
            match sys::recv(ours_client.as_fd(), &mut part) {
                Ok(count) => got.extend(&part[..count]),
                Err(_) => sent += send_some(&mut client, &bytes[sent..sent + 1]),
            }
        }
        assert!(got == bytes[..sent]);
        assert!(is_open(&ours_target));
        rig.settle(); // no event of theirs arrives any more
        client.write_all(b"x").unwrap();
        assert_eq!(rig.relay.epoll.wait(&mut rig.relay.events[..], 10), 0);
    }
}

#[test]
fn bulk_is_spliced_through_pipes_that_return() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    let bytes = noise(16 * MEBI);
    let sending = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            client.write_all(&bytes).unwrap();
            client
        }
    });
    let mut got = Vec::new();
    target.set_nonblocking(true).unwrap();
    while got.len() < bytes.len() {
        let mut part = vec![0; MEBI];
        if let Ok(count) = target.read(&mut part) {
            got.extend_from_slice(&part[..count]);
        }
        rig.until_ready();
    }
    assert!(got == bytes);
    assert_eq!((rig.pipes.load(Relaxed), rig.held.load(Relaxed)), (1, 0));
    let far = sending.join().unwrap();
    rig.advance(CHECK_INTERVAL_MS); // it was needed since the start
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!(rig.pipes.load(Relaxed), 0);
    drop(far);
}

/// Sends bulk through a relay in which a system call fails, and expects that nobody notices.
fn bulk_despite(call: &'static str, errno: Errno, times: usize) {
    for skip in [0, 1, 2, 3, 10] {
        let mut rig = Rig::new();
        let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        fault::inject(call, errno, skip, times);
        let bytes = noise(4 * MEBI);
        let sending = std::thread::spawn({
            let bytes = bytes.clone();
            move || {
                client.write_all(&bytes).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                client
            }
        });
        assert!(rig.read_to_end(&mut target) == bytes, "{call} {errno} {skip}");
        drop((target, sending.join().unwrap()));
        assert_eq!(rig.ending().kind, Kind::Ok);
    }
}

#[test]
fn copies_where_splicing_does_not_work() {
    for errno in [libc::EMFILE, libc::ENFILE, sys::ENOMEM] {
        bulk_despite("pipe2", errno, usize::MAX);
    }
    bulk_despite("fcntl", sys::EPERM, usize::MAX);
    for errno in [sys::EINVAL, sys::ENOMEM] {
        bulk_despite("splice", errno, 1);
        bulk_despite("splice", errno, usize::MAX);
    }
}

#[test]
fn a_refused_pipe_is_not_asked_for_again_at_once() {
    let mut rig = Rig::new();
    fault::inject("pipe2", libc::EMFILE, 0, 1);
    assert!(rig.relay.context.pipes.take(5).is_none());
    assert!(rig.relay.context.pipes.take(6).is_none());
    let pipe = rig.relay.context.pipes.take(10_005).expect("asked again");
    rig.relay.context.pipes.discard(pipe);
    fault::inject("fcntl", sys::EPERM, 0, 1); // a small pipe is closed
    assert!(rig.relay.context.pipes.take(30_000).is_none());
    assert_eq!(rig.pipes.load(Relaxed), 0);
}

#[test]
fn returns_sockets_that_cannot_be_watched() {
    for skip in [0, 1] {
        let mut rig = Rig::new();
        fault::inject("epoll_ctl", libc::ENOSPC, skip, 1);
        let (_client, mut target, _) = rig.open(b"read before", NO_DEADLINES);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno), (Kind::Unwatched, libc::ENOSPC));
        assert!(ending.sides.iter().all(Option::is_some));
        assert_eq!(read_exactly(&mut target, 11), b"read before");
    }
}

#[test]
fn reading_errors_break_that_side() {
    for (call, broken) in [("recv", 1), ("send", 2)] {
        let mut rig = Rig::new();
        let (mut client, _target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        fault::inject(call, libc::ETIMEDOUT, 0, 1);
        client.write_all(b"x").unwrap();
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, libc::ETIMEDOUT, broken));
    }
}

#[test]
fn a_busy_direction_lets_others_have_their_turn() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    let bytes = noise(8 * MEBI);
    let mut sent = 0;
    while send_some(&mut client, &bytes[sent..]) > 0 {
        sent += MEBI;
        sent = sent.min(bytes.len());
    }
    let count = rig.relay.epoll.wait(&mut rig.relay.events[..], 1000);
    rig.relay.turn(count, rig.now);
    assert!(moved(&shared).0 <= 2 * MAX_TURN_BYTES + BUFFER_BYTES as u64);
    target.write_all(b"x").unwrap();
    rig.turn();
    assert_eq!(read_exactly(&mut client, 1), b"x");
}

#[test]
fn an_event_of_an_ended_tunnel_reaches_no_other() {
    let mut rig = Rig::new();
    let (client, target, _) = rig.open(b"", NO_DEADLINES);
    let old = rig.relay.tunnels.iter_from(0).next().unwrap().0;
    drop((client, target));
    rig.ending();
    let (mut client, _target, _) = rig.open(b"", NO_DEADLINES);
    let new = rig.relay.tunnels.iter_from(0).next().unwrap().0;
    assert_eq!((old as u32, old >> 32 == new >> 32), (new as u32, false));
    rig.settle();
    fault::inject("recv", ECONNRESET, 0, 1);
    rig.relay.events[0] = Event { events: sys::ENDS | IN, u64: old };
    rig.relay.turn(1, rig.now);
    assert_eq!(rig.endings.take().len(), 0);
    fault::clear();
    client.write_all(b"x").unwrap();
    // Both sides of a tunnel are ready, and the first event ends it.
    rig.relay.events[0] = Event { events: IN, u64: new };
    rig.relay.events[1] = Event { events: IN, u64: new | 1 };
    fault::inject("recv", ECONNRESET, 0, 1);
    rig.relay.turn(2, rig.now);
    assert_eq!(rig.ending().kind, Kind::Reset);
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_a_time_limit() {
    let mut rig = Rig::new();
    let (mut client, target, _) = rig.open(b"", NO_DEADLINES);
    let drop_all = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 }; // BPF_RET
    let mut filters = [drop_all];
    let program = libc::sock_fprog { len: 1, filter: filters.as_mut_ptr() };
    sys::set_option(target.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program);
    client.write_all(b"x").unwrap();
    rig.settle();
    let token = rig.relay.tunnels.iter_from(0).next().unwrap().0;
    let fds = rig.relay.tunnels.get(token).unwrap().sides.each_ref().map(|fd| fd.as_raw_fd());
    let limit = |side: usize| -> u32 {
        let fd: BorrowedFd = sys::borrow(fds[side]);
        sys::option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT).unwrap()
    };
    while sys::unanswered(sys::borrow(fds[TARGET])).unwrap().0 == 0 {} // 0.2 s on loopback
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!((limit(CLIENT), limit(TARGET)), (0, 120_000));
    sys::set_option(target.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
    while sys::unanswered(sys::borrow(fds[TARGET])).unwrap().0 > 0 {}
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!(limit(TARGET), 0);
}

#[test]
fn checks_in_batches() {
    let mut rig = Rig::new();
    let far: Vec<_> = (0..CHECK_BATCH + 1).map(|_| rig.open(b"", NO_DEADLINES)).collect();
    rig.settle();
    rig.now += CHECK_INTERVAL_MS;
    rig.turn();
    assert_eq!((rig.relay.checking, rig.relay.timeout(rig.now)), (Some(CHECK_BATCH), 0));
    rig.turn();
    assert_eq!((rig.relay.checking, rig.relay.timeout(rig.now)), (None, CHECK_INTERVAL_MS as i32));
    drop(far);
}

#[test]
fn closing_leaves_no_descriptor() {
    let _alone = alone();
    let before = open_descriptors();
    let mut rig = Rig::alone();
    let mut far = vec![rig.open_with(small_pair, b"", NO_DEADLINES), rig.open(b"", NO_DEADLINES)];
    rig.fill(&mut far[0].0, &noise(16 * MEBI));
    let (tunnel, _) = tunnel(pair().1, pair().1, b"", NO_DEADLINES);
    assert!(rig.relay.inbox.commands.put(Command::Add(tunnel)).is_ok()); // not handled any more
    let inbox = rig.relay.inbox();
    rig.put(Command::End(Arc::clone(&far[1].2)));
    assert!(rig.idle_descriptors() <= 2);
    drop(rig);
    drop(far);
    assert!(inbox.commands.fd().is_none());
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_relay_that_cannot_be_made_leaves_no_descriptor() {
    let _alone = alone();
    let before = open_descriptors();
    let endings = Arc::new(Mailbox::<Ending>::new().unwrap());
    for call in ["epoll_create1", "eventfd", "epoll_ctl"] {
        fault::inject(call, libc::EMFILE, 0, 1);
        let silence = Silence { user_timeout: 0, probes: 0 };
        let relay = Relay::new(Arc::clone(&endings), silence, Arc::default(), Arc::default());
        assert_eq!(relay.err(), Some(libc::EMFILE));
    }
    drop(endings);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn an_idle_tunnel_is_small() {
    assert!(size_of::<Tunnel>() <= 256, "{}", size_of::<Tunnel>());
}
