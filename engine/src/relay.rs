//! A relay thread: an epoll set, its tunnels and their deadlines.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::Sender;

use crate::direction::{BUFFER_BYTES, Context};
use crate::mailbox::Mailbox;
use crate::pipes::Pipes;
use crate::slab::Slab;
use crate::sys::{self, EIO, Epoll, Errno, Event};
use crate::tunnel::{CLIENT, NO_TOKEN, Outcome, Shared, TARGET, Tunnel};

/// Maximum events of one turn.
const BATCH: usize = 128;
/// Milliseconds between two checks for unanswered peers and unused pipes.
const CHECK_INTERVAL_MS: u64 = 10_000;
/// Tunnels of one check before sockets are served: less than a millisecond.
const CHECK_BATCH: usize = 256;
/// Minimum milliseconds between two looks at all deadlines. A tunnel may outlive its deadline by this.
const SWEEP_INTERVAL_MS: u64 = 250;
/// The token of the mailbox's bell.
const BELL: u64 = NO_TOKEN;

/// How a tunnel ended. The numbers are those of `_engine.pyi`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Kind {
    Ok = 0,
    Reset = 1,
    Idle = 2,
    Ended = 3,
    GivenBack = 4,
    Unwatched = 5,
}

/// The end of a tunnel, as described in `_engine.pyi`.
pub struct Ending {
    pub key: u64,
    pub kind: Kind,
    pub errno: Errno,
    pub side: u8,
    pub moved: [u64; 2],
    /// The descriptors that are returned.
    pub sides: [Option<OwnedFd>; 2],
    pub held: [Vec<u8>; 2],
}

pub enum Command {
    Add(Tunnel),
    End(Arc<Shared>),
    GiveBack(Arc<Shared>),
    /// Moves the clock forward by milliseconds, and drops the sender at the end of the turn.
    Advance(u64, Sender<()>),
    Stop,
}

/// What the owner of a relay thread keeps of it.
pub struct Inbox {
    pub commands: Mailbox<Command>,
    /// Tunnels that were added and have not ended.
    pub tunnels: AtomicUsize,
}

/// When TCP_USER_TIMEOUT is set on a silent socket.
#[derive(Clone, Copy)]
pub struct Silence {
    pub user_timeout: u32,
    pub probes: u8,
}

pub struct Relay {
    epoll: Epoll,
    inbox: Arc<Inbox>,
    endings: Arc<Mailbox<Ending>>,
    silence: Silence,
    tunnels: Slab<Tunnel>,
    context: Context,
    events: Box<[Event; BATCH]>,
    /// When all deadlines are looked at.
    sweep_at: u64,
    /// When the next check starts.
    check_at: u64,
    /// The place at which a check goes on.
    checking: Option<usize>,
    /// How far tests moved the clock.
    ahead: u64,
}

impl Relay {
    pub fn new(
        endings: Arc<Mailbox<Ending>>,
        silence: Silence,
        held: Arc<AtomicUsize>,
        pipes: Arc<AtomicUsize>,
    ) -> sys::Result<Self> {
        let epoll = Epoll::new()?;
        let inbox = Arc::new(Inbox { commands: Mailbox::new()?, tunnels: AtomicUsize::new(0) });
        if let Some(bell) = inbox.commands.fd() {
            epoll.watch(sys::borrow(bell), BELL)?;
        }
        let buffer = vec![0; BUFFER_BYTES].into();
        let context = Context { buffer, pipes: Pipes::new(pipes), held, now: 0, again: Vec::new() };
        let events = Box::new([sys::NO_EVENT; BATCH]);
        let (sweep_at, check_at) = (u64::MAX, u64::MAX);
        let tunnels = Slab::new();
        Ok(Self {
            epoll,
            inbox,
            endings,
            silence,
            tunnels,
            context,
            events,
            sweep_at,
            check_at,
            checking: None,
            ahead: 0,
        })
    }

    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Relays until it is stopped.
    pub fn run(&mut self) {
        let mut now = sys::now();
        loop {
            let timeout = self.timeout(now);
            let count = self.epoll.wait(&mut self.events[..], timeout);
            now = sys::now() + self.ahead;
            if !self.turn(count, now) {
                return;
            }
        }
    }

    /// Milliseconds until something is due. -1: nothing is.
    fn timeout(&self, now: u64) -> i32 {
        if !self.context.again.is_empty() || self.checking.is_some() {
            return 0;
        }
        match self.sweep_at.min(self.check_at) {
            u64::MAX => -1,
            due => due.saturating_sub(now).min(i32::MAX as u64) as i32,
        }
    }

    /// Handles the first `count` events, then all else that is due. @return: false: the relay was stopped.
    fn turn(&mut self, count: usize, now: u64) -> bool {
        self.context.now = now;
        let (mut commands, mut advanced) = (Vec::new(), Vec::new());
        for place in 0..count {
            let Event { events, u64: token } = self.events[place];
            if token == BELL {
                commands = self.inbox.commands.take();
            } else if let Some(tunnel) = self.tunnels.get(token) {
                let outcome = tunnel.ready(token as usize & 1, events, &mut self.context);
                self.settle(token, outcome);
            } // else the tunnel ended in this turn
        }
        for token in std::mem::take(&mut self.context.again) {
            if let Some(tunnel) = self.tunnels.get(token) {
                let way = token as usize & 1;
                tunnel.ways[way].queued = false;
                let outcome = tunnel.pump(way, &mut self.context);
                self.settle(token, outcome);
            }
        }
        for command in commands {
            match command {
                Command::Add(tunnel) => self.add(tunnel),
                Command::End(shared) => self.finish(shared.token.load(Relaxed), Kind::Ended, 0),
                Command::GiveBack(shared) => self.finish(shared.token.load(Relaxed), Kind::GivenBack, 0),
                Command::Advance(milliseconds, sender) => {
                    advanced.push(sender);
                    self.ahead += milliseconds;
                    self.context.now += milliseconds;
                }
                Command::Stop => return false,
            }
        }
        if self.context.now >= self.sweep_at {
            self.sweep();
        }
        if self.context.now >= self.check_at || self.checking.is_some() {
            self.check();
        }
        true
    }

    fn add(&mut self, mut tunnel: Tunnel) {
        tunnel.active = self.context.now;
        let token = self.tunnels.insert(|token| {
            tunnel.shared.token.store(token, Relaxed);
            tunnel
        });
        let Some(tunnel) = self.tunnels.get(token) else { return };
        for side in [CLIENT, TARGET] {
            if let Err(error) = self.epoll.watch(tunnel.sides[side].as_fd(), token | side as u64) {
                return self.finish(token, Kind::Unwatched, error);
            }
        }
        if self.check_at == u64::MAX {
            self.check_at = self.context.now + CHECK_INTERVAL_MS;
        }
        self.sweep_at = self.sweep_at.min(tunnel.expiry().unwrap_or(u64::MAX));
        if tunnel.ways[CLIENT].holds() > 0 {
            let outcome = tunnel.pump(CLIENT, &mut self.context);
            self.settle(token, outcome);
        }
    }

    /// Acts on what became of a tunnel.
    fn settle(&mut self, token: u64, outcome: Outcome) {
        match outcome {
            Outcome::Open => {
                if let Some(tunnel) = self.tunnels.get(token).filter(|tunnel| tunnel.first.is_some()) {
                    self.sweep_at = self.sweep_at.min(tunnel.expiry().unwrap_or(u64::MAX));
                }
            }
            Outcome::Over => self.finish(token, Kind::Ok, 0),
            Outcome::Lost(side, error) => self.finish(token & !1 | side as u64, Kind::Reset, error),
        }
    }

    /// Ends a tunnel. @param token: of its broken side for a reset. Nothing happens if the tunnel has ended.
    fn finish(&mut self, token: u64, kind: Kind, errno: Errno) {
        let Some(mut tunnel) = self.tunnels.remove(token) else { return };
        tunnel.shared.token.store(NO_TOKEN, Relaxed);
        let context = &mut self.context;
        let (mut kind, mut errno, mut side) = (kind, errno, tunnel.first.map_or(0, |side| side + 1));
        let mut held = [Vec::new(), Vec::new()];
        let mut returned = [true, true];
        match kind {
            Kind::Ok => returned = [false, false],
            Kind::Reset => {
                let broken = token as usize & 1;
                side = broken as u8 + 1;
                // A reset could discard the broken side's bytes and end that are still in transit to the other.
                returned[broken] = false;
                returned[1 - broken] = tunnel.ways[broken].ended;
            }
            Kind::Idle | Kind::Ended | Kind::Unwatched => tunnel.flush(context),
            Kind::GivenBack => {
                side = tunnel.ended();
                for (way, held) in tunnel.ways.iter_mut().zip(&mut held) {
                    match way.take_held(context) {
                        Ok(bytes) => *held = bytes,
                        Err(error) => (kind, errno) = (Kind::Unwatched, error), // bytes are lost: do not go on
                    }
                }
            }
        }
        tunnel.release(context);
        let sides = tunnel.sides;
        let mut place = 0;
        let sides = sides.map(|fd| {
            place += 1;
            if returned[place - 1] {
                self.epoll.unwatch(fd.as_fd());
                return Some(fd);
            }
            if kind == Kind::Reset {
                sys::reset_on_close(fd.as_fd());
            }
            None
        });
        self.inbox.tunnels.fetch_sub(1, Relaxed);
        let moved = tunnel.ways.map(|way| way.moved);
        // A closed mailbox means that the engine is being closed: then the descriptors are closed, too.
        let _ = self.endings.put(Ending { key: tunnel.key, kind, errno, side, moved, sides, held });
    }

    /// Ends the tunnels whose deadline has come.
    fn sweep(&mut self) {
        let now = self.context.now;
        let (mut over, mut next) = (Vec::new(), u64::MAX);
        for (token, tunnel) in self.tunnels.iter_from(0) {
            match tunnel.expiry() {
                Some(expiry) if expiry <= now => over.push(token),
                Some(expiry) => next = next.min(expiry),
                None => {}
            }
        }
        self.sweep_at = next.max(now + SWEEP_INTERVAL_MS);
        if next == u64::MAX {
            self.sweep_at = u64::MAX;
        }
        for token in over {
            self.finish(token, Kind::Idle, 0);
        }
    }

    /// Starts or continues a check for unanswered peers and unused pipes.
    fn check(&mut self) {
        let first = self.checking.unwrap_or(0);
        let Silence { user_timeout, probes } = self.silence;
        for (_, tunnel) in
            self.tunnels.iter_from(first).take_while(|(token, _)| (*token as u32 >> 1) < (first + CHECK_BATCH) as u32)
        {
            tunnel.bound_silence(user_timeout, probes);
        }
        self.checking = Some(first + CHECK_BATCH).filter(|next| *next < self.tunnels.places());
        if self.checking.is_none() {
            self.context.pipes.close_unused();
            let idle = self.tunnels.is_empty() && self.context.pipes.is_empty();
            self.check_at = if idle { u64::MAX } else { self.context.now + CHECK_INTERVAL_MS };
        }
    }

    /// The thread ends. @param failed: it has failed: return the tunnels.
    pub fn close(&mut self, failed: bool) {
        let commands = self.inbox.commands.close();
        for command in commands.into_iter().filter(|_| failed) {
            if let Command::Add(tunnel) = command {
                self.tunnels.insert(|_| tunnel);
            }
        }
        let tokens: Vec<_> = self.tunnels.iter_from(0).map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(tunnel) = self.tunnels.get(token) {
                tunnel.release(&mut self.context);
            }
            if failed {
                self.finish(token, Kind::Unwatched, EIO);
            }
        }
        self.context.pipes.close_spare();
    }
}

#[cfg(test)]
mod tests;
