//! The relay's contract over loopback connections, in the test's own thread and by a clock of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::RwLockReadGuard;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::pipes::{LARGE_PIPE_BYTES, MAX_SPARE};
use crate::sys::{ECONNRESET, fault};
use crate::testing::*;
use crate::tunnel::{Deadlines, MAX_TURN_BYTES, ROUNDS, Shared, State, TIMED};

mod bulk;
mod contract;
mod deadlines;
mod failures;
mod requests;

const MEBI: usize = 1 << 20;

struct Rig {
    relay: Relay,
    endings: Arc<Mailbox<Ending>>,
    pipes: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    now: u64,
    turns: usize,
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
        Self { relay, endings, pipes, held, now: 1000, turns: 0, _shared: None }
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
        self.turns += 1;
        assert!(self.turns < 20_000, "nothing happens any more");
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

fn user_timeout(fd: &impl AsFd) -> u32 {
    sys::option(fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT).unwrap()
}

fn is_reset(far: &mut TcpStream) -> bool {
    matches!(far.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}
